"""Messages to token ids: THE function of training and serving, so that both see the same ids.

With a chat template, ids equal those of transformers' `apply_chat_template`, except that control
tokens typed inside a message stay text. Without one, they are written out by `plain_text`. Raw
prompts get the start token their tokenizer puts first, never twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from tutelage.errors import GuardError
from tutelage.lm import Calling, Message, Offer, Prompt
from tutelage.text import plain_text, tool_calls
from tutelage.text.chat import ChatTemplate, Conversation, Limits, TemplateError
from tutelage.text.tokenizer import Tokenizer

Example = tuple[list[int], list[int]]
"""Prompt ids, trained ids."""

Value = TypeVar("Value")


class Renderer:
    """Turns prompts and examples of one model into ids."""

    def __init__(self, tokenizer: Tokenizer, limits: Limits | None = None) -> None:
        self.tokenizer = tokenizer
        self._template: ChatTemplate | None = None
        if tokenizer.template is not None:
            variables = tokenizer.special.as_files()
            self._template = ChatTemplate(tokenizer.template, variables, limits)

    @property
    def chat(self) -> bool:
        """Whether the model has a chat template."""
        return self._template is not None

    @cached_property
    def tools(self) -> bool:
        """Whether the chat template tells of functions that may be called, in a form we read."""
        if self._template is None or not tool_calls.may_take_tools(self.tokenizer.template or ""):
            return False
        (rendered,) = self._template.render_each([tool_calls.probe()])
        return isinstance(rendered, str) and tool_calls.is_told(rendered)

    def lead(self, prompt: Prompt) -> str:
        """What an answer to `prompt` begins with and its text leaves out: the space behind
        "Output:" of written-out messages, else nothing."""
        return "" if self.chat or isinstance(prompt, str) else plain_text.LEAD

    def stops(self, prompt: Prompt) -> tuple[str, ...]:
        """Where an answer to `prompt` ends besides the end token: at the next written-out turn."""
        return () if self.chat or isinstance(prompt, str) else plain_text.STOP

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Ids to continue: a string as it is (control tokens in it count), messages through the
        template up to the opening of the assistant's turn. Raises TemplateError."""
        return _value(self.prompt_ids_each([prompt])[0])

    def prompt_ids_each(self, prompts: Sequence[Prompt]) -> list[list[int] | TemplateError]:
        """`prompt_ids` of many at once; a template that refuses one does not stop the others."""
        chats = [Conversation(p, prompted=True) for p in prompts if not isinstance(p, str)]
        rendered = iter(self._render_each(chats))
        results: list[list[int] | TemplateError] = []
        for prompt in prompts:
            if isinstance(prompt, str):
                results.append(self._raw_ids(prompt))
            else:
                text = next(rendered)
                results.append(text if isinstance(text, TemplateError) else self._ids(text))
        return results

    def example_ids(self, messages: Sequence[Message], completion: str) -> Example:
        """Ids of the prompt and of what is trained after it, ending with an end token.

        The trained part is what the template adds for the answer to what it writes as prompt;
        whatever it writes behind the end token is dropped, as generation stops there. Raises
        TemplateError, and GuardError where no end token is known or prompt and whole disagree.
        """
        return _value(self.example_ids_each([(messages, completion)])[0])

    def example_ids_each(
        self, examples: Sequence[tuple[Sequence[Message], str]]
    ) -> list[Example | TemplateError | GuardError]:
        """`example_ids` of many at once; failures stand in the failed examples' places."""
        conversations = []
        for messages, completion in examples:
            answer = Message("assistant", completion)
            conversations.append(Conversation(tuple(messages), prompted=True))
            conversations.append(Conversation((*messages, answer), prompted=False))
        rendered = self._render_each(conversations)
        results: list[Example | TemplateError | GuardError] = []
        for prompt, whole in zip(rendered[0::2], rendered[1::2], strict=True):
            try:
                results.append(self._example(_value(prompt), _value(whole)))
            except (TemplateError, GuardError) as error:
                results.append(error)
        return results

    def continuation_ids(self, prompt: Prompt, continuation: str) -> Example:
        """Ids of a prompt and of a text behind it, without an end token: what `score` scores."""
        ids = self.prompt_ids(prompt)
        if isinstance(prompt, str):
            whole = self._raw_ids(prompt, plain_end=continuation)
            if whole[: len(ids)] == ids:
                return ids, whole[len(ids) :]
        lead = self.lead(prompt) if continuation else ""
        return ids, self.tokenizer.encode_plain(lead + continuation)

    def document_ids(self, text: str) -> list[int]:
        """Ids of a whole plain text, all to be learned: start token if any, text, end token."""
        ids = [*self.tokenizer.prefix, *self.tokenizer.encode_plain(text)]
        return [*ids, self._end_id()]

    def _render_each(self, conversations: Sequence[Conversation]) -> list[str | TemplateError]:
        """Texts in which the template's control tokens stand bare and typed ones are marked."""
        if self._template is None:
            return [plain_text.written(conversation) for conversation in conversations]
        return self._template.render_each([self._marked(c) for c in conversations])

    def _marked(self, conversation: Conversation) -> Conversation:
        turns = tuple(self._marked_turn(turn) for turn in conversation.messages)
        return Conversation(turns, conversation.prompted)

    def _marked_turn(self, turn: Message) -> Message:
        """Tools and calls too are what somebody typed."""
        marked = replace(turn, content=self._typed(turn.content))
        if isinstance(marked, Offer):
            return replace(marked, tools=self._typed(marked.tools))
        if isinstance(marked, Calling):
            return replace(marked, calls=self._typed(marked.calls))
        return marked

    def _typed(self, text: str) -> str:
        return self._control.sub(lambda m: self.tokenizer.mark(m[0]), text)

    def _ids(self, rendered: str, first: bool = True) -> list[int]:
        if self._template is None:
            prefix = self.tokenizer.prefix if first else ()
            return [*prefix, *self.tokenizer.encode_plain(rendered)]
        if not any(mark in rendered for mark in self.tokenizer.marks):
            return self.tokenizer.encode(rendered)
        return self.tokenizer.encode_marked(self._exchanged.sub(self._exchange, rendered))

    def _exchange(self, match: re.Match[str]) -> str:
        """Typed control tokens and stray marks lose their marks, the template's own get them."""
        if match["written"]:
            return self.tokenizer.mark(match["written"])
        return match["typed"] or ""

    def _raw_ids(self, text: str, plain_end: str = "") -> list[int]:
        if plain_end:
            marked = self._control.sub(lambda m: self.tokenizer.mark(m[0]), text)
            ids = self.tokenizer.encode_marked(marked + plain_end)
        else:
            ids = self.tokenizer.encode(text)
        prefix = list(self.tokenizer.prefix)
        return ids if ids[: len(prefix)] == prefix else prefix + ids

    def _example(self, prompt: str, whole: str) -> Example:
        if not whole.startswith(prompt):
            raise GuardError(
                "the chat template writes an answered conversation differently from its prompt, "
                "so what is trained would not be what is served",
                field="chat_template",
                got=_difference(prompt, whole),
            )
        prompt_ids, whole_ids = self._ids(prompt), self._ids(whole)
        if whole_ids[: len(prompt_ids)] == prompt_ids:
            trained = whole_ids[len(prompt_ids) :]
        else:  # a piece straddles the border; serving cannot produce it
            trained = self._ids(whole[len(prompt) :], first=False)
        ends = [at for at, id in enumerate(trained) if id in self.tokenizer.eos_ids]
        if ends:
            return prompt_ids, trained[: ends[0] + 1]
        return prompt_ids, [*trained, self._end_id()]

    def _end_id(self) -> int:
        ends = self.tokenizer.eos_ids
        if not ends:
            raise GuardError(
                "no end token is known for this model: it would never learn to stop",
                field="eos_token",
                expected="eos_token in tokenizer_config.json or eos_token_id in the configuration",
            )
        return self.tokenizer.eos_id if self.tokenizer.eos_id is not None else min(ends)

    @cached_property
    def _control(self) -> re.Pattern[str]:
        tokens = "|".join(map(re.escape, self.tokenizer.control_tokens))
        return re.compile(tokens or r"(?!)")  # (?!) matches nowhere

    @cached_property
    def _exchanged(self) -> re.Pattern[str]:
        start, end = map(re.escape, self.tokenizer.marks)
        control = self._control.pattern
        return re.compile(f"{start}(?P<typed>{control}){end}|{start}|{end}|(?P<written>{control})")


def _difference(prompt: str, whole: str) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b),
        min(len(prompt), len(whole)),
    )
    return f"{prompt[at : at + 40]!r} in the prompt, {whole[at : at + 40]!r} in the whole"


def _value(result: Value | TemplateError | GuardError) -> Value:
    if isinstance(result, TemplateError | GuardError):
        raise result
    return result
