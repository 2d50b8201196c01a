"""docs/architectures.md is the truth: its tables are computed, and no family is left out."""

from __future__ import annotations

from tests.style import presets_page as page
from tutelage.models.catalogue import ARCHITECTURES


def test_the_tables_are_those_of_the_presets() -> None:
    assert page.rewritten(page.current()) == page.current(), "run scripts/presets"


def test_every_family_has_a_table() -> None:
    there = {ARCHITECTURES.get(name).family for name in ARCHITECTURES.names()}
    found = page.families(page.current())
    assert set(found) == there and len(found) == len(there)
