"""docs/scope.md lists what is not there: nothing that a registry knows may stand in it."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

from tutelage import objectives
from tutelage.models.catalogue import ARCHITECTURES
from tutelage.peft import METHODS
from tutelage.score import METRICS
from tutelage.tokenizers import KINDS

THERE = {
    "method": METHODS.names(),
    "objective": [one.name for one in pkgutil.iter_modules(objectives.__path__)],
    "architecture": ARCHITECTURES.names(),
    "metric": METRICS.names(),
    "tokenizer": KINDS.names(),
}


def absent(page: str) -> list[str]:
    """What the tables' first columns name, in words without a plural's s."""
    rows = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    words = re.findall(r"[\w-]+", " ".join(row for row in rows if row != "not there").lower())
    return [word.removesuffix("s") for word in words]


@pytest.mark.parametrize("kind", THERE)
def test_what_is_there_is_not_listed_as_absent(kind: str, root: Path) -> None:
    names = {name.lower().removesuffix("s"): name for name in THERE[kind]}
    listed = set(absent((root / "docs" / "scope.md").read_text(encoding="utf-8")))
    assert listed and not [name for short, name in names.items() if short in listed]


def test_every_table_is_read() -> None:
    assert absent("| not there | state |\n|---|---|\n| DoRA, two Heads | planned |\n") == [
        "dora", "two", "head"
    ]  # fmt: skip
