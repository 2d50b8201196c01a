from __future__ import annotations

import pytest

from tutelage.data.rows import Row
from tutelage.errors import DataError
from tutelage.evaluate.run import Item
from tutelage.evaluate.tasks import items_of, stop_texts
from tutelage.lm import Message

ASKED = Row("r1", "f:1", (Message("user", "2+2?"),), "4", source="sums")
OTHER = Row("r2", "f:2", (Message("user", "1+1?"),), "2")
TEXT = Row("r3", "f:3", text="plain text")


def test_a_row_becomes_an_item_with_its_turns() -> None:
    assert items_of([ASKED]) == [Item("r1", ASKED.messages, "4", "sums")]


def test_examples_stand_before_the_query_as_turns() -> None:
    (with_turns,) = items_of([ASKED], [OTHER.example()])
    assert [(m.role, m.content) for m in with_turns.prompt] == [
        ("user", "1+1?"), ("assistant", "2"), ("user", "2+2?")
    ]  # fmt: skip
    assert stop_texts(chat=False) and not stop_texts(chat=True)


def test_a_row_without_an_answer_is_no_item() -> None:
    with pytest.raises(DataError, match="f:3"):
        items_of([TEXT])
