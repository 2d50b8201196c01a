"""Rows to examples, and examples to the steps of a run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.train.rows import rows_of
from tutelage.checkpoints.reading import Reading
from tutelage.data.pack import Example
from tutelage.data.rows import REASONS
from tutelage.errors import DataError, GuardError
from tutelage.lm import Message
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.render import Renderer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer
from tutelage.train.config import TuneConfig
from tutelage.train.examples import examples_of, schedule


def renderer(template: str | None = None) -> Renderer:
    made = byte_tokenizer()
    ends = SpecialTokens(eos=made.special.eos)
    return Renderer(Tokenizer(made.json, ends, template=template or made.template))


def test_every_example_ends_with_the_end_token_and_trains_the_answer_alone() -> None:
    rows = rows_of(5)
    examples, aside = examples_of(rows, Reading(renderer(), 512))
    assert aside == []
    tokenizer = byte_tokenizer()
    for row, example in zip(rows, examples, strict=True):
        prompt = f"<|im_start|>user\n{row.messages[0].content}<|im_end|>\n<|im_start|>assistant\n"
        assert list(example.ids[: example.at[0] + 1]) == tokenizer.encode(prompt)
        assert row.completion is not None
        assert list(example.labels) == [*row.completion.encode(), tokenizer.eos_id]
        assert (example.name, example.weight) == (row.id, row.weight)


def test_rows_that_cannot_be_used_are_set_aside_with_their_reasons() -> None:
    good = rows_of(3)
    long = replace(good[0], id="long", where="f:7", completion="x" * 600)
    mute = replace(good[0], id="mute", where="f:8", completion=None, text="plain")
    examples, aside = examples_of([good[0], long, good[1], mute, good[2]], Reading(renderer(), 512))
    assert [e.name for e in examples] == [row.id for row in good]
    found = {entry["where"]: entry["reason"] for entry in aside}
    assert found == {"f:7": "too-long", "f:8": "no-answer"}
    assert "512" in next(e["detail"] for e in aside if e["where"] == "f:7")
    assert set(found.values()) <= set(REASONS)


def test_a_row_just_as_long_as_the_context_is_used() -> None:
    row = rows_of(1)[0]
    length = sum(map(len, renderer().example_ids(row.messages, row.completion or "")))
    assert len(examples_of([row], Reading(renderer(), length))[0]) == 1
    assert len(examples_of([row], Reading(renderer(), length - 1))[0]) == 0


def test_a_row_the_template_refuses_does_not_stop_the_others() -> None:
    template = (
        "{% for m in messages %}{% if 'bad' in m['content'] %}{{ raise_exception('no') }}"
        "{% endif %}{{ m['content'] }}|{% endfor %}"
    )
    rows = rows_of(3)
    rows[1] = replace(rows[1], messages=(Message("user", "bad"),))
    examples, aside = examples_of(rows, Reading(renderer(template), 512))
    assert [e.name for e in examples] == [rows[0].id, rows[2].id]
    assert [(entry["where"], entry["reason"]) for entry in aside] == [(rows[1].where, "template")]


def endless() -> Renderer:
    """A model whose end token is not known."""
    return Renderer(Tokenizer(byte_tokenizer().json, SpecialTokens(), template=None))


@pytest.mark.parametrize("strict", [False, True])
def test_a_model_without_an_end_token_fails_as_a_whole(strict: bool) -> None:
    with pytest.raises(GuardError, match="no end token"):
        examples_of(rows_of(3), Reading(endless(), 512), strict=strict)


def test_strict_stops_at_the_first_row_that_would_be_set_aside() -> None:
    rows = rows_of(4)
    rows[1] = replace(rows[1], where="f:2", completion="x" * 600)
    rows[3] = replace(rows[3], where="f:4", completion=None)
    with pytest.raises(DataError, match=r"f:2.*too-long") as caught:
        examples_of(rows, Reading(renderer(), 512), strict=True)
    assert caught.value.field == "f:2" and "512" in str(caught.value.got)
    del rows[1]
    with pytest.raises(DataError, match=r"f:4.*no-answer"):
        examples_of(rows, Reading(renderer(), 512), strict=True)
    assert len(examples_of(rows[:2], Reading(renderer(), 512), strict=True)[0]) == 2


SIZES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=20)


def examples_sized(sizes: list[tuple[int, int]]) -> list[Example]:
    return [
        Example.answer((i % 50,) * prompt, (1,) * completion, name=str(i))
        for i, (prompt, completion) in enumerate(sizes)
    ]


@given(SIZES, st.integers(16, 100), st.integers(1, 3), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_whole_epochs_hold_every_row_once(
    sizes: list[tuple[int, int]], capacity: int, epochs: int, seed: int
) -> None:
    examples = examples_sized(sizes)
    steps = schedule(examples, TuneConfig(epochs=epochs, batch_tokens=capacity, seed=seed))
    seen = Counter(example.name for step in steps for example in step)
    assert seen == {example.name: epochs for example in examples}
    assert all(steps)


@given(SIZES, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_number_of_steps_is_that_number(sizes: list[tuple[int, int]], wanted: int) -> None:
    examples = examples_sized(sizes)
    steps = schedule(examples, TuneConfig(steps=wanted, batch_tokens=32))
    assert len(steps) == wanted
    longer = schedule(examples, TuneConfig(steps=wanted + 5, batch_tokens=32))
    assert longer[:wanted] == steps


@pytest.mark.parametrize("epochs", [0.001, 0.25, 0.5, 1.0, 1.5, 2.75])
def test_parts_of_an_epoch(epochs: float) -> None:
    examples = examples_sized([(10, 5)] * 40)
    whole = len(schedule(examples, TuneConfig(batch_tokens=32)))
    steps = schedule(examples, TuneConfig(epochs=epochs, batch_tokens=32))
    full, part = divmod(epochs, 1)
    assert len(steps) == full * whole + math.ceil(part * whole)


def test_the_seed_orders_and_every_epoch_has_its_own_order() -> None:
    examples = examples_sized([(5, 3)] * 30)

    def order(seed: int) -> list[str]:
        steps = schedule(examples, TuneConfig(epochs=2, batch_tokens=16, seed=seed))
        return [example.name for step in steps for example in step]

    assert order(1) == order(1) != order(2)
    assert order(1)[:30] != order(1)[30:]
