"""Conversations as plain text."""

from __future__ import annotations

from tutelage.lm import Message
from tutelage.prompts.few_shot import Example, with_examples
from tutelage.text.chat import Conversation
from tutelage.text.plain_text import STOP, written

SYSTEM = Message("system", "Translate.")


def prompt(*turns: Message) -> str:
    return written(Conversation(turns, prompted=True))


def test_inputs_and_outputs_alternate_and_the_last_output_is_open() -> None:
    query = (SYSTEM, Message("user", "three"))
    shown = [
        Example((Message("system", "left out"), Message("user", "one")), "eins"),
        Example((Message("user", "two"),), "zwei"),
    ]
    text = prompt(*with_examples(query, shown))
    assert text == (
        "Translate.\n\nInput: one\nOutput: eins\n\nInput: two\nOutput: zwei\n\n"
        "Input: three\nOutput:"
    )
    assert prompt(*query) == "Translate.\n\nInput: three\nOutput:"
    assert STOP[0] in text


def test_the_prompt_begins_the_answered_conversation() -> None:
    turns = (SYSTEM, Message("user", "{a}\n"), Message("user", "b"))
    for answer in ("c", "", "c\n\n", " c"):
        whole = written(Conversation((*turns, Message("assistant", answer)), prompted=False))
        assert whole == prompt(*turns) + " " + answer
    assert prompt(*turns) == "Translate.\n\nInput: {a}\n\nInput: b\nOutput:"


def test_no_turns_are_an_answer_alone() -> None:
    assert prompt() == "Output:"
    assert written(Conversation((), prompted=False)) == ""
