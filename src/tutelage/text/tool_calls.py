"""Calls of functions as Hermes and Qwen write them, and whether a chat template does.

A call is JSON, name and arguments, between <tool_call> and </tool_call>. A template that takes
`tools` tells of them in the words its model was trained on; whether it does, and writes calls in
this form, is found by having it render one: what it writes must be read. Knows nothing of models.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tutelage.lm import Calling, Message, Offer
from tutelage.text.chat import Conversation

CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)

_NAME, _DESCRIPTION, _RESULT = "look_it_up", "Looks a word up.", "Nothing was found."
_ARGUMENTS = {"word": "axolotl"}


def call_in(written: str) -> tuple[str, dict[str, Any]] | None:
    """The name and the arguments of one call, None where it is none."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    arguments = found.get("arguments", {})
    return (found["name"], arguments) if isinstance(arguments, dict) else None


def may_take_tools(template: str) -> bool:
    """Whether it is worth asking: both words stand in it somewhere."""
    return "tools" in template and "<tool_call>" in template


def probe() -> Conversation:
    """A conversation in which a function is offered, called and answers."""
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    function = {"name": _NAME, "description": _DESCRIPTION, "parameters": parameters}
    called = {"name": _NAME, "arguments": _ARGUMENTS}
    turns = (
        Offer(tools=json.dumps([{"type": "function", "function": function}])),
        Message("user", "What is an axolotl?"),
        Calling(calls=json.dumps([{"id": "call_1", "type": "function", "function": called}])),
        Message("tool", _RESULT),
    )
    return Conversation(turns, prompted=True)


def is_told(rendered: str) -> bool:
    """Whether the rendered `probe` tells of the function, of its call in our form, and of what it
    answered."""
    calls = [call_in(written) for written in CALL.findall(rendered)]
    return _DESCRIPTION in rendered and _RESULT in rendered and (_NAME, _ARGUMENTS) in calls
