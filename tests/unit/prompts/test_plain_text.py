"""Prompts as plain text."""

from __future__ import annotations

from tutelage.lm import Message
from tutelage.prompts.few_shot import Example
from tutelage.prompts.plain_text import STOP, plain_prompt


def test_inputs_and_outputs_alternate_and_the_last_output_is_open() -> None:
    query = (Message("system", "Translate."), Message("user", "three"))
    shown = [
        Example((Message("system", "left out"), Message("user", "one")), "eins"),
        Example((Message("user", "two"),), "zwei"),
    ]
    text = plain_prompt(query, shown)
    assert text == (
        "Translate.\n\nInput: one\nOutput: eins\n\nInput: two\nOutput: zwei\n\n"
        "Input: three\nOutput:"
    )
    assert plain_prompt(query) == "Translate.\n\nInput: three\nOutput:"
    assert text.startswith(plain_prompt(query, shown[:1]).removesuffix("Input: three\nOutput:"))
    assert STOP[0] in text


def test_earlier_turns_of_the_query_are_written_out() -> None:
    query = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    assert plain_prompt(query) == "Input: a\nOutput: b\nInput: c\nOutput:"
