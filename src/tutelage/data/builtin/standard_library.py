"""The modules of the running Python's standard library, and what is honest to say about them."""

from __future__ import annotations

import platform
import sysconfig
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import DataError

LEFT_OUT = frozenset(
    {
        *("test", "tests", "idlelib_test"),
        *("site-packages", "dist-packages", "_bundled", "lib-dynload", "__pycache__"),
        *("idlelib", "_pyrepl", "turtledemo"),  # applications and demonstrations
        *("lib2to3", "distutils"),  # deprecated, and copies of others
        "pydoc_data",
    }
)


@dataclass(frozen=True)
class Built:
    """Records of a built-in set, and sentences for the report."""

    records: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A module's dotted name and source text."""

    name: str
    text: str


def modules() -> Iterator[Module]:
    """All modules in the order of their names, without tests and installed packages."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = {_dotted(path.relative_to(folder)): path for path in _paths(folder)}
    if not paths:
        raise DataError(
            f"this Python has no standard library as source files in {folder}",
            field="builtin:",
            hint="use a Python whose library is not zipped, or data of your own",
        )
    for name in sorted(paths):
        try:
            with tokenize.open(paths[name]) as file:
                yield Module(name, file.read())
        except (SyntaxError, UnicodeDecodeError):
            continue  # not Python as this Python reads it: templates of some distributions


def pretraining_note(what: str) -> str:
    """The sentence every report on such data must print."""
    return (
        f"The rows are {what} of Python {platform.python_version()}; this text was surely in the "
        "model's pretraining, so the figures show what adapting does, not how it does on new text."
    )


def _paths(folder: Path) -> Iterator[Path]:
    """Python files below a folder, not entering what is left out."""
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.startswith((".", "config-", "sitecustomize")):
            continue
        if path.is_dir():
            yield from _paths(path)
        elif path.suffix == ".py":
            yield path


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
