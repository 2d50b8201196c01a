"""One command line, called as a user calls it: its exit code and its one object on stdout."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tutelage.cli.main import run_command

HERE = ("--device", "cpu", "--dtype", "fp32", "--threads", "1")
"""Where tiny models compute in these tests: anywhere the same."""


class Called(NamedTuple):
    code: int
    found: dict[str, Any]
    errors: str


def called(*arguments: str) -> Called:
    """`tutelage ARGUMENTS --json` within this process."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = run_command([*arguments, "--json"])
    return Called(code, one_object(out.getvalue()), errors.getvalue())


def installed() -> list[str]:
    """The command as it is installed beside this Python, or else the module."""
    script = shutil.which("tutelage", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "tutelage"]


def process(*arguments: str) -> Called:
    """The same as a process of its own."""
    done = subprocess.run(
        [*installed(), *arguments, "--json"], capture_output=True, text=True, check=False
    )
    return Called(done.returncode, one_object(done.stdout), done.stderr)


def one_object(text: str) -> dict[str, Any]:
    """Strict JSON: one line, one object, no key twice, neither NaN nor Infinity."""
    assert text.endswith("\n") and text.count("\n") == 1, f"not one line: {text!r}"
    found = json.loads(
        text,
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
        object_pairs_hook=_each_once,
    )
    assert isinstance(found, dict)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), f"a key twice: {names}"
    return dict(pairs)
