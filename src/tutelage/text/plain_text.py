"""Conversations for models without a chat template: inputs and outputs written out as plain text.

    the system's words

    Input: ...
    Output: ...

    Input: the query
    Output:

The one place of this format: training, evaluation and serving get it through `text/render`. An
answer follows "Output:" after a space (LEAD) and is to be cut at STOP. Knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.lm import Message
from tutelage.text.chat import Conversation

LEAD = " "
"""What stands between a prompt and its answer, and belongs to neither."""
STOP = ("\n\nInput:",)
"""Where an answer ends that goes on to write the next input itself."""

_NAMES = {"system": "", "user": "Input: ", "assistant": "Output:" + LEAD, "tool": "Input: "}
_BEHIND = {"system": "\n\n", "user": "\n", "assistant": "\n\n", "tool": "\n"}


def source(turns: Sequence[Message]) -> str:
    """What an encoder reads: a query alone, with the system's words before it, as it is; more turns
    written out up to where the answer begins."""
    if [turn.role for turn in turns if turn.role != "system"] == ["user"]:
        return "\n\n".join(turn.content for turn in turns)
    return written(Conversation(tuple(turns), prompted=True))


def written(conversation: Conversation) -> str:
    """The turns in their order: a prompt ends where the answer begins, a whole conversation where
    its last turn ends, so that the prompt is a prefix of the answered conversation."""
    parts = []
    for turn in conversation.messages:
        parts += [_NAMES[turn.role], turn.content, _BEHIND[turn.role]]
    return "".join([*parts, "Output:"] if conversation.prompted else parts[:-1])
