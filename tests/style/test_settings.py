"""Every key of every schema is read by something: a setting that does nothing is a lie."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.style.sources import files, module

OUTPUT = {"tutelage.lifecycle.record"}
"""Schemas of what is written, not of what is asked for: a page may leave a field out."""


def schemas() -> list[tuple[Path, str, list[str]]]:
    from tutelage.config import Frozen

    for path in files():
        if module(path) != "tutelage.__main__" and "Frozen" in path.read_text(encoding="utf-8"):
            importlib.import_module(module(path))
    found = []
    for path in files():
        for schema in Frozen.__subclasses__():
            if schema.__module__ == module(path) and module(path) not in OUTPUT:
                found.append((path, schema.__name__, list(schema.model_fields)))
    return found


@pytest.mark.parametrize(
    ("path", "name", "keys"), schemas(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_key_is_read(path: Path, name: str, keys: list[str]) -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in files())
    for key in keys:
        read = re.search(rf"[\w\])]\.{key}\b(?!\s*=[^=])", text)
        assert read, f"nothing reads {name}.{key}"
