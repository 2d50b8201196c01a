"""Which parts of the package a module's work follows from, and one hash over all of them.

    parts("tutelage.train.tune")         # ["checkpoints", "config.py", "data", ..., "train"]
    code_hash("tutelage.train.tune")     # another one after any change to any of these

A part is a folder with all its files (C++, the library built from it and templates too) or a file
of the package's root. The folders that compose, where a page and a ladder lie side by side, count
file by file. A part follows from what it imports anywhere, in functions too, and from the folders
it names in a string, as a registry does. Knows no module: a list kept by hand forgets one.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
COMPOSING = ("cli", "lifecycle")
CODE = frozenset((".py", ".cpp", ".h", ".so", ".pyd", ".dylib", ".html", ".css", ".js", ".md"))
"""What decides results: of the C++ the built library does, and its source what it will be."""
_NAMED = re.compile(r"\w+(\.\w+)+")


@functools.cache
def code_hash(*modules: str, package: Path = PACKAGE) -> str:
    """SHA-256 over all that these modules follow from. Raises ValueError for one that is not of
    the package."""
    total = hashlib.sha256()
    for part in parts(*modules, package=package):
        for file in _files(package / part):
            total.update(file.relative_to(package).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def parts(*modules: str, package: Path = PACKAGE) -> list[str]:
    """The parts these modules lie in, and all parts that those import, in turn."""
    found: set[str] = set()
    waiting = []
    for module in modules:
        part = _part(module, package)
        if part is None:
            raise ValueError(f"{module} is no module of {package.name}")
        waiting.append(part)
    while waiting:
        part = waiting.pop()
        if part not in found:
            found.add(part)
            waiting.extend(_imported(part, package))
    return sorted(found)


@functools.cache
def _imported(part: str, package: Path) -> frozenset[str]:
    """The parts that a part's own Python files name."""
    found = set()
    for file in _files(package / part):
        if file.suffix == ".py":
            names = _names(ast.parse(file.read_bytes(), filename=str(file)))
            found |= {_part(name, package) for name in names}
    return frozenset(name for name in found if name is not None)


def _names(tree: ast.Module) -> Iterator[str]:
    """Dotted names that a file imports or writes as a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and _NAMED.fullmatch(str(node.value)):
            yield str(node.value)


def _part(name: str, package: Path) -> str | None:
    """The part a dotted name lies in; None for names of other packages, and for the package itself,
    which only forwards names to those outside."""
    root, *path = name.split(".")
    if root != package.name or not path:
        return None
    if path[0] in COMPOSING and len(path) > 1:
        return _there("/".join(path[:2]), package) or _there(path[0], package)
    return _there(path[0], package)


def _there(part: str, package: Path) -> str | None:
    for candidate in (part, f"{part}.py"):
        if (package / candidate).exists():
            return candidate
    return None


def _files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in files if file.suffix in CODE and file.is_file()]
