"""The package's source files as syntax trees, and which of its modules each one imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tutelage"


@functools.cache
def files() -> tuple[Path, ...]:
    """All Python files of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module(path: Path) -> str:
    """`tutelage.cli.main` of src/tutelage/cli/main.py."""
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node: ast.AST, lazy: bool = True) -> Iterator[str]:
    """Names imported at run time: all modules, and members of `from` imports as dotted names.

    Imports under `if TYPE_CHECKING:` are for the type checker alone and not counted; those inside
    functions only if `lazy`.
    """
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where a name comes from"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.orelse:
            yield from imports(child, lazy)
    elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from imports(child, lazy)


@functools.cache
def own_imports(path: Path, lazy: bool = True) -> frozenset[str]:
    """Modules of the package that this file imports."""
    known = {module(file) for file in files()}
    found = set()
    for name in imports(tree(path), lazy):
        if name.partition(".")[0] != "tutelage":
            continue
        while name not in known:
            name = name.rpartition(".")[0]
        found.add(name)
    return frozenset(found)
