"""Every key of every schema is read by something: a setting that does nothing is a lie.

A key counts as read where mypy says that `x.key` is asked of an `x` of that very schema; a `.key`
of something else that has the same name is no reader.
"""

from __future__ import annotations

import functools
import importlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.style.sources import PACKAGE, files, module
from tutelage.config import Frozen

OUTPUT = {"tutelage.lifecycle.record", "tutelage.corpus.layout"}
"""Schemas of what is written, not of what is asked for: a reader may leave a field out."""
OFF = {
    "StreamOptions": "include_obfuscation",
    "Settings": "user",
    "Turn": "tool_call_id refusal annotations audio function_call",
    "Function": "description strict",
    "NamedSchema": "description strict",
    "ChatRequest": "parallel_tool_calls metadata store",
    "CompletionRequest": "suffix",
    "EmbeddingRequest": "user",
}
"""OpenAI's fields of what `serve/` is asked that may only be off, or that change no answer."""


def schemas() -> dict[str, type[Frozen]]:
    """Every schema of what is asked for, by its full name."""
    for path in files():
        text = path.read_text(encoding="utf-8")
        if module(path) != "tutelage.__main__" and ("Frozen" in text or "(Strict)" in text):
            importlib.import_module(module(path))
    known = {module(path) for path in files()} - OUTPUT
    return {_name(one): one for one in _below(Frozen) if one.__module__ in known}


def _below(schema: type[Frozen]) -> Iterator[type[Frozen]]:
    for one in schema.__subclasses__():
        yield one
        yield from _below(one)


def _name(schema: type) -> str:
    return f"{schema.__module__}.{schema.__qualname__}"


@functools.cache
def attributes_asked() -> frozenset[tuple[str, str]]:
    """Class and name of every attribute that the package asks of an object, bases included.

    From a process of its own: the trees of the whole package would stay in this one, and each
    later collection of garbage would walk them."""
    pytest.importorskip("mypy.nodes", reason="mypy comes with the `check` extra")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_asked).result()


def _asked() -> frozenset[tuple[str, str]]:
    from mypy import build, nodes
    from mypy.modulefinder import BuildSource
    from mypy.options import Options

    options = Options()
    options.export_types = options.preserve_asts = options.check_untyped_defs = True
    options.follow_imports, options.ignore_missing_imports = "skip", True
    options.mypy_path, options.incremental = [str(PACKAGE.parent)], False
    types = build.build([BuildSource(str(file), module(file)) for file in files()], options).types
    return frozenset(
        (name, node.name)
        for node in types
        if isinstance(node, nodes.MemberExpr) and node.expr in types
        for name in _classes(types[node.expr])
    )


def _classes(kind: object) -> Iterator[str]:
    """Full names of the classes a value of this type may be of, and of their bases."""
    from mypy import types

    proper = types.get_proper_type(kind)  # type: ignore[call-overload]
    if isinstance(proper, types.Instance):
        yield from (base.fullname for base in proper.type.mro)
    elif isinstance(proper, types.UnionType):
        for item in proper.items:
            yield from _classes(item)
    elif isinstance(proper, types.TypeVarType):
        yield from _classes(proper.upper_bound)


def unread(schema: type[Frozen]) -> list[str]:
    owners = [_name(base) for base in schema.__mro__ if base in schemas().values()]
    asked = attributes_asked()
    return [key for key in schema.model_fields if not any((one, key) in asked for one in owners)]


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_key_is_read(name: str) -> None:
    schema = schemas()[name]
    off = {key for base in schema.__mro__ for key in OFF.get(base.__name__, "").split()}
    of_a_client = schema.__module__.removeprefix("tutelage.serve.") in (
        "schema",
        "settings",
        "tools",
    )
    assert set(unread(schema)) == (off if of_a_client else set())


def test_an_attribute_of_something_else_is_no_reader() -> None:
    asked = attributes_asked()
    assert ("tutelage.lifecycle.project.Task", "metric") in asked
    assert ("tutelage.lifecycle.project.Task", "seed") not in asked  # Search has it
