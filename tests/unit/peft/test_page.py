"""The page's table names every method, with the count it has by default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutelage.models.catalogue import find_preset, layout, shape
from tutelage.peft import METHODS
from tutelage.peft._method import Method, settings_of

PAGE = Path(__file__).parents[3] / "docs" / "adaptation.md"
ROW = re.compile(r"^\| `([\w-]+)` \|.*?\| ([\d,]+) \| (\w[\w ]*) \| (\w[\w ]*) \|", re.MULTILINE)


def table() -> dict[str, tuple[int, str, str]]:
    found = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name: (int(count.replace(",", "")), form, merges) for name, count, form, merges in found
    }


def test_the_table_names_every_method() -> None:
    assert sorted(table()) == METHODS.names()


@pytest.mark.parametrize("name", METHODS.names())
def test_what_it_says_is_so(name: str) -> None:
    config = find_preset("smollm2-135m")
    method: Method = METHODS.get(name)
    weights = layout(config)
    settings = method.resolve(settings_of(method, {}), weights, shape(config))
    count, form, merges = table()[name]
    assert count == method.count(weights, settings)
    wanted = ("PEFT" if method.theirs else "ours") if method.adapter else "a model folder"
    assert form == wanted
    assert (merges == "no") == (method.merge is None and method.adapter)
