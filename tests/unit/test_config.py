"""What is wrong with a file of settings is said so that its writer can mend it."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Literal

import pytest

import tutelage
from tutelage.config import Frozen, kind_of, load_toml, validate
from tutelage.errors import ConfigError
from tutelage.lifecycle.project import Project


class Inner(Frozen):
    many: list[int]
    some: int = 0


class Outer(Frozen):
    name: str
    """What it is called."""
    rate: float | None
    mode: Literal["fast", "slow"]
    inner: Inner
    each: dict[str, Inner]
    flag: bool | int


WHOLE = {
    "name": "x", "rate": 1.0, "mode": "fast", "inner": {"many": []}, "each": {}, "flag": True,
}  # fmt: skip
EXPECTED = {
    "name": "a text", "rate": "a number", "mode": "one of fast, slow",
    "inner": "a table with many", "each": "a table", "flag": "true or false or a whole number",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_of_a_missing_key_what_was_got_and_what_is_expected_is_said(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {key: value for key, value in WHOLE.items() if key != name}, "a.toml")
    error = caught.value
    assert (error.field, error.got, error.expected) == (
        f"a.toml: {name}",
        "nothing",
        EXPECTED[name],
    )
    assert error.hint == ("What it is called." if name == "name" else None)


@pytest.mark.parametrize("place", ["inner", "each.one"])
def test_of_one_in_a_table_too(place: str) -> None:
    table, _, key = place.partition(".")
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {**WHOLE, table: {key: {}} if key else {}})
    assert (caught.value.field, caught.value.got) == (f"{place}.many", "nothing")
    assert caught.value.expected == "a list"


def test_a_project_file_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "project.toml"
    path.write_text('[task]\ndata = "rows.jsonl"\n[models]\ncandidates = ["preset:llama-tiny"]\n')
    with pytest.raises(ConfigError) as caught:
        load_toml(Project, path)
    assert caught.value.field == f"{path}: name"
    assert (caught.value.got, caught.value.expected) == ("nothing", "a text")


def test_every_required_key_of_every_schema_has_a_name_for_what_it_wants() -> None:
    for module in pkgutil.walk_packages(tutelage.__path__, "tutelage."):
        if not module.name.endswith(("__main__", "_library")):  # a program, and C++
            importlib.import_module(module.name)
    schemas = [Frozen]
    for schema in schemas:
        schemas += schema.__subclasses__()
    ours = [one for one in schemas if one.__module__.startswith("tutelage.")]
    assert len(ours) > 50
    for one in ours:
        for name, field in one.model_fields.items():
            said = kind_of(field.annotation) if field.is_required() else "a text"
            assert said != "a value", f"{one.__name__}.{name}: {field.annotation}"
