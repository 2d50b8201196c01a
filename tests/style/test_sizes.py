"""Files, functions and signatures stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.sources import PACKAGE, files, module, tree

FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 12
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines without the signature and the docstring, which documentation may need."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def is_verb(path: Path, function: Function) -> bool:
    """A verb's parameters are the options of the command line."""
    arguments = [a.arg for a in function.args.kwonlyargs]
    return path.parent == PACKAGE / "cli" and "shared" in arguments


@pytest.mark.parametrize("path", files(), ids=module)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", files(), ids=module)
def test_functions_are_short(path: Path) -> None:
    for function in functions(path):
        assert body_lines(function) <= FUNCTION_LINES, function.name


@pytest.mark.parametrize("path", files(), ids=module)
def test_signatures_are_short(path: Path) -> None:
    for function in functions(path):
        given = function.args
        count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
        assert count <= PARAMETERS or is_verb(path, function), function.name


@pytest.mark.parametrize("path", files(), ids=module)
def test_no_file_is_named_for_nothing(path: Path) -> None:
    assert not {path.stem, path.parent.name} & VAGUE


@pytest.mark.parametrize("path", files(), ids=module)
def test_every_file_says_what_it_knows(path: Path) -> None:
    empty = not path.read_text(encoding="utf-8").strip()
    assert empty or ast.get_docstring(tree(path))
