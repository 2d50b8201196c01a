"""The names the package exports are pinned; importing it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tutelage

EXPORTED = ["__version__", "load", "run", "tune"]


def test_exported_names_are_pinned() -> None:
    assert tutelage.__all__ == EXPORTED
    assert dir(tutelage) == EXPORTED


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_names_exist(name: str) -> None:
    value = getattr(tutelage, name)
    assert callable(value) or name == "__version__"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        tutelage.lode  # noqa: B018


@pytest.mark.parametrize("heavy", ["torch", "pydantic", "numpy"])
def test_importing_the_package_is_light(heavy: str) -> None:
    code = f"import sys, tutelage; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
