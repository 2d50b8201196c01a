"""Objects of every shape become rows; every fault has its name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tutelage.data.rows import REASONS, Loaded, Row, SetAside, set_aside_long
from tutelage.data.shapes import Record, Templates, row_from
from tutelage.data.template import parse
from tutelage.lm import Message

ASK = (Message("user", "2+2?"),)


def read(value: Any, templates: Templates = Templates()) -> Row | SetAside:
    return row_from(Record("f.jsonl:3", "f:3", value), templates)


def row(**fields: Any) -> Row:
    return Row(**{"id": "f:3", "where": "f.jsonl:3", **fields})


GOOD: list[tuple[dict[str, Any], Row]] = [
    ({"prompt": "2+2?", "completion": "4"}, row(messages=ASK, completion="4")),
    ({"prompt": "2+2?", "completion": 4}, row(messages=ASK, completion="4")),
    ({"prompt": "2+2?", "completion": 0.75}, row(messages=ASK, completion="0.75")),
    (
        {"prompt": "2+2?", "completion": "4", "id": 7, "source": "sums", "weight": 2},
        row(id="7", messages=ASK, completion="4", source="sums", weight=2.0),
    ),
    (
        {"prompt": "2+2?", "completion": "4", "id": None, "source": None, "weight": None},
        row(messages=ASK, completion="4"),
    ),
    (
        {
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "4"},
                {"role": "user", "content": "3+3?"},
                {"role": "assistant", "content": "6", "tool_calls": None},
            ]
        },
        row(
            messages=(
                Message("system", "Be short."),
                *ASK,
                Message("assistant", "4"),
                Message("user", "3+3?"),
            ),
            completion="6",
        ),
    ),
    ({"text": "Once."}, row(text="Once.")),
    ({"text": "2+2?", "label": "sum"}, row(messages=ASK, completion="sum", label="sum")),
    ({"text": "2+2?", "label": 3}, row(messages=ASK, completion="3", label="3")),
    ({"text": "2+2?", "label": -0.25}, row(messages=ASK, completion="-0.25", label="-0.25")),
    ({"text": "2+2?", "label": False}, row(messages=ASK, completion="false", label="false")),
    (
        {"tokens": ["a", "b"], "tags": ["X", "O"]},
        row(
            messages=(Message("user", "a b"),),
            completion="X O",
            extra={"tokens": ["a", "b"], "tags": ["X", "O"]},
        ),
    ),
    (
        {"prompt": "where?", "choices": ["a  tree", "water"], "answer": 0},
        row(
            messages=(Message("user", "where?\n(A) a tree\n(B) water"),),
            completion="a tree",
            extra={"prompt": "where?", "choices": ["a  tree", "water"], "answer": 0},
        ),
    ),
    (
        {
            "question": "when?",
            "context": "in 1889",
            "answers": {"text": ["1889"], "answer_start": [3]},
        },
        row(
            messages=(Message("user", "when?\n\nin 1889"),),
            completion="1889",
            extra={
                "question": "when?",
                "context": "in 1889",
                "start": 3,
                "answers": {"text": ["1889"], "answer_start": [3]},
            },
        ),
    ),
    (
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        row(messages=ASK, extra={"chosen": "4", "rejected": "5"}),
    ),
    (
        {"prompt": "2+2?", "completions": ["4", "5", "6"], "ranking": [0, 2, 1]},
        row(messages=ASK, extra={"completions": ["4", "5", "6"], "ranking": [0, 2, 1]}),
    ),
]


@pytest.mark.parametrize(("value", "expected"), GOOD)
def test_shapes_become_rows(value: dict[str, Any], expected: Row) -> None:
    assert read(value) == expected


@pytest.mark.parametrize("expected", [expected for _, expected in GOOD])
def test_a_row_written_as_json_is_read_as_itself(expected: Row) -> None:
    assert read(expected.as_json()) == expected


def turns(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


FAULTY: list[tuple[Any, str]] = [
    ([1, 2], "wrong-type"),
    ("text", "wrong-type"),
    (None, "wrong-type"),
    ({}, "unknown-shape"),
    ({"question": "a", "answer": "b"}, "unknown-shape"),
    ({"prompt": "a"}, "missing-key"),
    ({"prompt": "a", "completion": None}, "missing-key"),
    ({"chosen": "a", "rejected": "b"}, "missing-key"),
    ({"tokens": ["a"]}, "missing-key"),
    ({"prompt": 3, "completion": "b"}, "wrong-type"),
    ({"prompt": "a", "completion": ["b"]}, "wrong-type"),
    ({"prompt": "a", "completion": math.inf}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "id": ["x"]}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "id": ""}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "source": True}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "weight": "2"}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "weight": -1}, "wrong-type"),
    ({"prompt": "a", "completion": "b", "weight": 0}, "wrong-type"),
    ({"prompt": " \n", "completion": "b"}, "empty-prompt"),
    ({"prompt": "a", "completion": ""}, "empty-completion"),
    ({"prompt": "a", "completion": "\t"}, "empty-completion"),
    ({"text": ""}, "empty-text"),
    ({"text": "a", "label": [1.5]}, "wrong-type"),
    ({"text": "a", "label": math.nan}, "wrong-type"),
    ({"text": "a", "label": math.inf}, "wrong-type"),
    ({"text": "a", "label": ""}, "empty-completion"),
    ({"prompt": "a\0", "completion": "b"}, "nul-or-surrogate"),
    ({"prompt": "a", "completion": "\ud800"}, "nul-or-surrogate"),
    ({"prompt": "a", "completion": "b", "more": ["\udfff"]}, "nul-or-surrogate"),
    ({"prompt": "a", "completion": "b", "k\0": 1}, "nul-or-surrogate"),
    ({"messages": "hello"}, "wrong-type"),
    ({"messages": ["hello"]}, "wrong-type"),
    ({"messages": [{"role": "user"}]}, "missing-key"),
    ({"messages": [{"role": "user", "content": None}]}, "wrong-type"),
    ({"messages": []}, "empty-completion"),
    (turns("user"), "empty-completion"),
    (turns("user", "tool", "assistant"), "wrong-type"),
    (turns("assistant"), "empty-prompt"),
    (turns("system", "assistant"), "empty-prompt"),
    (
        {"messages": [*turns("user")["messages"], {"role": "assistant", "content": "  "}]},
        "empty-completion",
    ),
    (
        {
            "messages": [
                *turns("user")["messages"],
                {"role": "assistant", "content": "x", "tool_calls": [{}]},
            ]
        },
        "wrong-type",
    ),
    ({"tokens": ["a"], "tags": ["O", "O"]}, "wrong-type"),
    ({"tokens": ["a b"], "tags": ["O"]}, "wrong-type"),
    ({"prompt": "p", "choices": ["a"], "answer": 0}, "no-choices"),
    ({"prompt": "p", "choices": ["a", "b"], "answer": 2}, "unknown-label"),
    ({"prompt": "p", "choices": ["a", "b"], "answer": "c"}, "unknown-label"),
    ({"question": "q", "context": "c", "answers": ["c"]}, "wrong-type"),
    (
        {"question": "q", "context": "abc", "answers": {"text": ["b"], "answer_start": [2]}},
        "outside-text",
    ),
    ({"tokens": [1], "tags": ["O"]}, "wrong-type"),
    ({"tokens": [], "tags": []}, "empty-text"),
    ({"prompt": "a", "chosen": "b", "rejected": ""}, "empty-completion"),
    ({"prompt": "a", "completions": ["b", "c"], "ranking": [0, 0]}, "wrong-type"),
    ({"prompt": "a", "completions": ["b", "c"], "ranking": [1, 2]}, "wrong-type"),
    ({"prompt": "a", "completions": ["b", "c"], "ranking": [True, False]}, "wrong-type"),
    ({"prompt": "a", "completions": ["b"], "ranking": [0]}, "wrong-type"),
]


@pytest.mark.parametrize(("value", "reason"), FAULTY)
def test_faults_are_named(value: Any, reason: str) -> None:
    outcome = read(value)
    assert isinstance(outcome, SetAside)
    assert (outcome.where, outcome.reason) == ("f.jsonl:3", reason)
    assert outcome.detail


def templates(prompt: str | None = None, completion: str | None = None) -> Templates:
    return Templates(
        None if prompt is None else parse("prompt", prompt),
        None if completion is None else parse("completion", completion),
    )


def test_templates_fill_any_fields() -> None:
    value = {"dialogue": "Hi", "n": 3, "score": 0.5, "ok": True, "id": "a", "source": "s"}
    found = read(value, templates("{{{n}}} {dialogue} {ok}", "{score}"))
    assert found == row(
        id="a", source="s", messages=(Message("user", "{3} Hi true"),), completion="0.5"
    )


def test_one_template_leaves_the_other_side_to_the_row() -> None:
    asked = (Message("user", "Say: hi"),)
    assert read({"text": "hi", "label": 1}, templates("Say: {text}")) == row(
        messages=asked, completion="1"
    )
    assert read({"prompt": "2+2?", "right": "4"}, templates(completion="{right}")) == row(
        messages=ASK, completion="4"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"b": "x"}, "missing-key"),
        ({"a": "x"}, "missing-key"),
        ({"a": None, "b": "x"}, "wrong-type"),
        ({"a": ["x"], "b": "x"}, "wrong-type"),
        ({"a": " ", "b": "x"}, "empty-prompt"),
        ({"a": "x", "b": ""}, "empty-completion"),
    ],
)
def test_templates_name_faults(value: dict[str, Any], reason: str) -> None:
    outcome = read(value, templates("{a}", "{b}"))
    assert isinstance(outcome, SetAside) and outcome.reason == reason


def test_a_template_alone_needs_the_other_side() -> None:
    outcome = read({"a": "x"}, templates("{a}"))
    assert isinstance(outcome, SetAside) and outcome.reason == "missing-key"


def test_counts_of_loaded_rows_must_add_up() -> None:
    aside = SetAside("f:1", "bad-json", "x")
    assert Loaded((row(),), (aside, aside), 3).reasons() == {"bad-json": 2}
    with pytest.raises(ValueError, match="4 rows in"):
        Loaded((row(),), (aside,), 4)
    with pytest.raises(ValueError, match="not one of the reasons"):
        SetAside("f:1", "bad-luck", "x")


def test_long_rows_are_set_aside_in_order() -> None:
    rows = [row(id=str(n), where=f"f:{n}") for n in range(4)]
    kept, aside = set_aside_long(rows, [5, 6, 4, 7], 5)
    assert [r.id for r in kept] == ["0", "2"]
    assert [(one.where, one.reason) for one in aside] == [("f:1", "too-long"), ("f:3", "too-long")]
    assert "7 tokens" in aside[1].detail
    assert "too-long" in REASONS
    with pytest.raises(ValueError, match="argument 2"):
        set_aside_long(rows, [1], 5)


def test_rows_are_immutable_and_become_examples() -> None:
    found = row(messages=ASK, completion="4", source="s")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.completion = "5"  # type: ignore[misc]
    example = found.example()
    assert (example.messages, example.completion, example.source, example.id) == (
        ASK, "4", "s", "f:3",
    )  # fmt: skip
    with pytest.raises(ValueError, match="no completion"):
        row(text="x").example()
