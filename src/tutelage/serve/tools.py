"""Tools: told to the model as text, their calls read out of its answers. Knows nothing of models.

The form is that of Hermes and Qwen: functions as JSON in the system message, calls between
<tool_call> and </tool_call>, results between <tool_response> and </tool_response>. A chat template
that tells of tools in this form is given them (`Offer`, `Calling`), and writes what its model was
trained on; for all others the system message below tells, so any model may try. A call that must
be made (`tool_choice` "required" or a function's name) is held to the functions' schemas.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from tutelage.decoding import Guided
from tutelage.errors import ConfigError
from tutelage.lm import Calling, Offer
from tutelage.serve.settings import Short, Strict, Text, as_schema
from tutelage.text.tool_calls import CALL, call_in

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
ASKED = """\
You may call functions. They are described between <tools> and </tools>:
<tools>
{tools}
</tools>
To call one, answer with its name and arguments as JSON:
<tool_call>
{{"name": ..., "arguments": {{...}}}}
</tool_call>"""


class Function(Strict):
    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Strict):
    type: Literal["function"]
    function: Function

    def told(self) -> dict[str, Any]:
        """The function as the model reads it."""
        told = self.function.model_dump(exclude_none=True, exclude={"strict"})
        return {"type": "function", "function": told}


class NamedFunction(Strict):
    name: Name


class NamedTool(Strict):
    """A `tool_choice` that names its function."""

    type: Literal["function"]
    function: NamedFunction


class Called(Strict):
    name: Name
    arguments: Text


class ToolCall(Strict):
    """A call of an earlier turn, sent back."""

    id: Short
    type: Literal["function"] = "function"
    function: Called

    def text(self) -> str:
        """The call as the model wrote it."""
        name = json.dumps(self.function.name)
        return call_text(f'{{"name": {name}, "arguments": {self.function.arguments}}}')

    def called(self) -> dict[str, Any]:
        """The call as chat templates take it: arguments as an object, where they are one."""
        arguments: Any = self.function.arguments
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
        function = {"name": self.function.name, "arguments": arguments}
        return {"id": self.id, "type": "function", "function": function}


Tools = Annotated[list[Tool], Field(max_length=128)]
ToolChoice = Literal["none", "auto", "required"] | NamedTool


def call_text(call: str) -> str:
    return f"<tool_call>\n{call}\n</tool_call>"


def response_text(content: str) -> str:
    return f"<tool_response>\n{content}\n</tool_response>"


def system_text(tools: Sequence[Tool]) -> str:
    """What the system message tells of the tools."""
    return ASKED.format(tools="\n".join(_json(tool.told()) for tool in tools))


def offer(tools: Sequence[Tool]) -> Offer:
    """The same for a chat template that tells of them itself."""
    return Offer(tools=_json([tool.told() for tool in tools]))


def calling(said: str, calls: Sequence[ToolCall]) -> Calling:
    """A turn that called, for such a template."""
    return Calling(content=said, calls=_json([call.called() for call in calls]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def must_call(tools: Sequence[Tool], choice: ToolChoice | None) -> list[Guided]:
    """What the answer must be, where a call must be made. Raises ConfigError for a name that no
    tool has."""
    if choice is None or choice in ("none", "auto"):
        return []
    wanted = choice.function.name if isinstance(choice, NamedTool) else None
    chosen = [tool.function for tool in tools if wanted in (None, tool.function.name)]
    if not chosen:
        raise ConfigError("tool_choice asks for a tool that is not given", field="tool_choice")
    calls = [_call_schema(function) for function in chosen]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return [Guided("json_schema", as_schema(schema, "tools"), field="tools")]


def _call_schema(function: Function) -> dict[str, Any]:
    arguments = function.parameters or {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def calls_in(
    text: str, names: Sequence[str], bare: bool
) -> tuple[str | None, list[dict[str, Any]]]:
    """What an answer says, and the calls in it, in OpenAI's form. What is no call of a known
    function stays text. `bare`: the whole answer is one call, without marks."""
    written = [text] if bare else CALL.findall(text)
    calls = [call for one in written if (call := _call(one, names)) is not None]
    if not calls or len(calls) < len(written):
        return text, []
    said = "" if bare else CALL.sub("", text).strip()
    return said or None, calls


def _call(text: str, names: Sequence[str]) -> dict[str, Any] | None:
    found = call_in(text)
    if found is None or found[0] not in names:
        return None
    return {
        "id": "call_" + secrets.token_hex(12),
        "type": "function",
        "function": {"name": found[0], "arguments": _json(found[1])},
    }
