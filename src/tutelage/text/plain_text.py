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

from tutelage.text.chat import Conversation

LEAD = " "
"""What stands between a prompt and its answer, and belongs to neither."""
STOP = ("\n\nInput:",)
"""Where an answer ends that goes on to write the next input itself."""

_NAMES = {"system": "", "user": "Input: ", "assistant": "Output:" + LEAD}
_BEHIND = {"system": "\n\n", "user": "\n", "assistant": "\n\n"}


def written(conversation: Conversation) -> str:
    """The turns in their order: a prompt ends where the answer begins, a whole conversation where
    its last turn ends, so that the prompt is a prefix of the answered conversation."""
    parts = []
    for turn in conversation.messages:
        parts += [_NAMES[turn.role], turn.content, _BEHIND[turn.role]]
    return "".join([*parts, "Output:"] if conversation.prompted else parts[:-1])
