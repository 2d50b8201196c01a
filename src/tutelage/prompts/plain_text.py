"""Prompts for models without a chat template: inputs and outputs written out as plain text.

    Input: ...
    Output: ...

    Input: the query
    Output:

Knows nothing of chat templates (`text/`). The answer is to be cut at STOP.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.lm import Message
from tutelage.prompts.few_shot import Example

STOP = ("\n\nInput:",)
"""Where an answer ends that goes on to write the next example itself."""


def plain_prompt(messages: Sequence[Message], examples: Sequence[Example] = ()) -> str:
    """The examples and the query as one raw text that ends where the answer begins.

    The answer should start with a space: it follows "Output:". System messages of the query stand
    before everything, those of the examples are left out.
    """
    system = [turn.content for turn in messages if turn.role == "system"]
    solved = [
        "\n".join([*_turns(example.messages), f"Output: {example.completion}"])
        for example in examples
    ]
    query = "\n".join([*_turns(messages), "Output:"])
    return "\n\n".join([*system, *solved, query])


def _turns(messages: Sequence[Message]) -> list[str]:
    names = {"user": "Input", "assistant": "Output"}
    return [f"{names[turn.role]}: {turn.content}" for turn in messages if turn.role != "system"]
