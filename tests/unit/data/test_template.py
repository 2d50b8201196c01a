"""Templates take plain field names and nothing else."""

from __future__ import annotations

import pytest

from tutelage.data.template import MissingField, UnprintableField, parse
from tutelage.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Summarize: {dialogue}", "Summarize: a {b}"),
        ("{{literal}} {n}", "{literal} 3"),
        ("{Best Answer}/{Best Answer}", "yes/yes"),
        ("no field", "no field"),
        ("", ""),
    ],
)
def test_templates_are_filled(text: str, expected: str) -> None:
    row = {"dialogue": "a {b}", "n": 3, "Best Answer": "yes"}
    assert parse("prompt", text).fill(row) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{}",
        "{a.b}",
        "{a[0]}",
        "{a!r}",
        "{a:>10}",
        "{a:{b}}",
        "{ a }",
        "{a.__class__.__init__.__globals__}",
    ],
)
def test_anything_but_a_field_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse("completion", text)
    assert caught.value.field == "completion"
    assert caught.value.got == text


def test_a_field_unknown_to_all_rows_gets_a_suggestion() -> None:
    template = parse("prompt", "{dialog}")
    with pytest.raises(ConfigError) as caught:
        template.check({"dialogue", "id"})
    assert caught.value.hint == "did you mean 'dialogue'?"
    assert caught.value.expected == "one of dialogue, id"
    template.check({"dialog"})


def test_a_row_without_the_field_is_told_apart_from_one_with_a_list() -> None:
    template = parse("prompt", "{a}")
    with pytest.raises(MissingField):
        template.fill({"b": "x"})
    with pytest.raises(UnprintableField):
        template.fill({"a": ["x"]})
