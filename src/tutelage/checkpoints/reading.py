"""How one model is asked: what a prompt becomes, where the answer stands, and what fits.

    decoder           [prompt answer]           on one axis, causally
    prefix decoder    [prompt answer]           the prompt's tokens see each other both ways
    encoder-decoder   prompt -> [start answer]  an encoder reads the prompt

The one place where training, scoring and generation learn it from. A decoder is one that sees its
prompts both ways where its config.json says `"prefix_lm": true`: its weights do not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.data.pack import Example
from tutelage.models.catalogue import shape
from tutelage.text.pairs import PairRenderer
from tutelage.text.render import Renderer

PREFIX_LM = "prefix_lm"
"""The key of config.json, ours alone, that says how a decoder was trained to see its prompts."""


def trained_to_read(checkpoint: Checkpoint, both: bool) -> Checkpoint:
    """The checkpoint, its configuration saying whether it is trained to see prompts both ways."""
    config = {key: value for key, value in checkpoint.config.items() if key != PREFIX_LM}
    return replace(checkpoint, config={**config, PREFIX_LM: True} if both else config)


@dataclass(frozen=True)
class Virtual:
    """Ids that an adapter puts before every row. Beside an encoder they stand before what it reads;
    `deep` ones, which are keys and values in every layer, before what the decoder says."""

    ids: tuple[int, ...] = ()
    deep: bool = False


@dataclass(frozen=True)
class Reading:
    """One model's way. `context` is the most tokens of the axis a prompt stands on, less the
    virtual ones there, None where there is no limit; `start` the token a decoder's rows begin with
    where an encoder reads the prompt."""

    renderer: Renderer
    context: int | None
    start: int | None = None
    both: bool = False
    virtual: Virtual = field(default_factory=Virtual)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Reading:
        found = shape(checkpoint.config)
        pair = found.start is not None
        renderer = (PairRenderer if pair else Renderer)(checkpoint.tokenizer)
        both = checkpoint.config.get(PREFIX_LM) is True and not pair
        return cls(renderer, found.context, found.start, both)

    def behind(self, virtual: Virtual) -> Reading:
        """The same with virtual tokens before every row."""
        found = replace(self, virtual=virtual)
        if self.context is None:
            return found
        return replace(found, context=self.context - len(found.before))

    @property
    def before(self) -> tuple[int, ...]:
        """Virtual tokens before a prompt."""
        return () if self.start is not None and self.virtual.deep else self.virtual.ids

    @property
    def begins(self) -> tuple[int, ...]:
        """What a decoder's rows begin with where an encoder reads the prompt."""
        if self.start is None:
            return ()
        return (*self.virtual.ids, self.start) if self.virtual.deep else (self.start,)

    def read(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """What is read of a prompt, before it is answered."""
        return (*self.before, *prompt)

    def example(
        self, prompt: Sequence[int], answer: Sequence[int], weight: float = 1.0, name: str = ""
    ) -> Example:
        """A prompt and its whole answer, of which every token is trained."""
        read = self.read(prompt)
        if self.start is not None:
            return Example.pair(read, answer, self.begins, weight=weight, name=name)
        return Example.answer(read, answer, weight, name, len(read) if self.both else 0)

    def scored(self, prompt: Sequence[int], text: Sequence[int]) -> Example:
        """A prompt and a text behind it that is scored: where the tokenizer puts tokens before a
        row, the decoder is given them."""
        if self.start is None:
            return self.example(prompt, text)
        given = self.renderer.tokenizer.prefix
        return Example.pair(self.read(prompt), (*given, *text), self.begins, given=len(given))

    def text(self, ids: Sequence[int], weight: float = 1.0, name: str = "") -> Example:
        """A plain text, of which a decoder is trained on every token but the first."""
        return Example.answer(self.read(ids[:1]), ids[1:], weight, name)

    def over(self, prompt: int, answer: int) -> tuple[int, int] | None:
        """Tokens of an axis that does not hold them, and the most it holds; None where a prompt and
        an answer of so many fit."""
        if self.context is None:
            return None
        axes = [(prompt + answer, self.context)]
        if self.start is not None:
            axes = [(prompt, self.context), (answer, self._of_decoder)]
        return next(((used, most) for used, most in axes if used > most), None)

    @property
    def longest_prompt(self) -> int | None:
        """Tokens of the longest prompt with room for an answer; None where there is no limit."""
        if self.context is None:
            return None
        return self.context - 1 if self.start is None else self.context

    def room(self, prompt: int) -> int | None:
        """Tokens an answer may have after a prompt that fits; None where there is no limit."""
        if self.context is None:
            return None
        return self.context - prompt if self.start is None else self._of_decoder

    @property
    def _of_decoder(self) -> int:
        """Tokens of the longest answer to what an encoder reads."""
        assert self.context is not None
        return self.context + len(self.before) - len(self.begins) + 1
