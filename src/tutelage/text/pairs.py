"""Messages to token ids for an encoder-decoder: what the encoder reads, what the decoder is to say.

Both are written as whole rows, with what the tokenizer puts at their ends (T5 a `</s>` behind, BART
`<s>` and `</s>` around). A single query is read as it is; several turns are written out by
`plain_text`. No chat template is used: it writes turns for a decoder to go on with.
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.errors import GuardError
from tutelage.lm import Message, Prompt
from tutelage.text import plain_text
from tutelage.text.chat import TemplateError
from tutelage.text.render import Example, Renderer
from tutelage.text.tokenizer import Tokenizer


class PairRenderer(Renderer):
    """Turns prompts and examples of one encoder-decoder into ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._template = None

    def lead(self, prompt: Prompt) -> str:
        """Nothing: an answer begins a row of its own."""
        return ""

    def stops(self, prompt: Prompt) -> tuple[str, ...]:
        """None: a decoder that was tuned says its end token."""
        return ()

    def prompt_ids_each(self, prompts: Sequence[Prompt]) -> list[list[int] | TemplateError]:
        """What the encoder reads of each: a string with the control tokens it spells (sentinels),
        messages without any."""
        return [self._source(prompt) for prompt in prompts]

    def example_ids_each(
        self, examples: Sequence[tuple[Sequence[Message], str]]
    ) -> list[Example | TemplateError | GuardError]:
        """What the encoder reads and what the decoder is to say, an end token last."""
        return [self._pair(tuple(messages), completion) for messages, completion in examples]

    def continuation_ids(self, prompt: Prompt, continuation: str) -> Example:
        """What the encoder reads and the ids of a text, without an end token."""
        return self._source(prompt), self.tokenizer.encode_plain(continuation)

    def _source(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str):
            return self.tokenizer.encode_row(plain_text.source(prompt))
        ids = self._raw_ids(prompt)
        suffix = list(self.tokenizer.suffix)
        return ids if suffix and ids[-len(suffix) :] == suffix else ids + suffix

    def _pair(self, messages: tuple[Message, ...], completion: str) -> Example | GuardError:
        target = self.tokenizer.encode_row(completion)
        try:
            if not target or target[-1] not in self.tokenizer.eos_ids:
                target.append(self._end_id())
        except GuardError as error:
            return error
        return self._source(messages), target
