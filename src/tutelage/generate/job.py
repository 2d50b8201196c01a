"""What the engine is asked, and what it tells: token ids in, token ids out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tutelage.data.pack import Example
from tutelage.errors import TutelageError
from tutelage.generate.chooser import Chooser, Guide, Logprobs
from tutelage.generate.rows import first_read
from tutelage.lm import FinishReason, Sampling
from tutelage.models.forward import Model


@dataclass(frozen=True)
class Job:
    """One prompt; the answer ends at a token in `ends` (not given out) or at the limit. With `both`
    the prompt's tokens see those behind them too, as a prefix language model was trained. `guide`
    makes the guide of one answer; `logprobs` is how many alternatives are told, None for none.
    `adapter` is which of the engine's adapters answers, None the base. An encoder-decoder's answer
    follows what it `begins` with, nothing being its start token."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    ends: frozenset[int]
    sampling: Sampling = field(default_factory=Sampling)
    both: bool = False
    min_new_tokens: int = 0
    logprobs: int | None = None
    guide: Callable[[], Guide] | None = None
    adapter: str | None = None
    begins: tuple[int, ...] = ()

    def read(self, model: Model) -> Example:
        """What is read before the answer's first token is chosen."""
        return first_read(model, self.prompt, self.both, self.begins)

    def chooser(self, model: Model) -> Chooser | None:
        """What chooses the tokens; None where the likeliest one is all that is asked for."""
        plain = self.sampling.plain and self.guide is None and self.logprobs is None
        if plain and not self.min_new_tokens:
            return None
        read, ends = self.read(model).ids, self.ends
        guide = None if self.guide is None else self.guide()
        return Chooser(self.sampling, read, ends, self.min_new_tokens, self.logprobs, guide)


@dataclass(frozen=True)
class Token:
    """What happened to job `index`: a new token (None at an end token), and whether it is over;
    `error` is why it could not go on."""

    index: int
    token: int | None
    finish: FinishReason | None
    logprobs: Logprobs | None = None
    error: TutelageError | None = None
