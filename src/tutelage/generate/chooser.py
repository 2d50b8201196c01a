"""All settings of one answer, in the order in which they apply, and what they must remember.

    raw log-probabilities -> guide -> least length -> bias -> n-grams -> repetition -> frequency and
    presence -> temperature 0: the likeliest; else temperature, min-p, top-k, top-p, typical, a draw

vLLM's order (its sampler's `forward`); its structured output masks the scores before the sampler
sees them. A request that asks for none of this has no chooser: the engine takes the likeliest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tutelage.generate.penalties import NGrams, bias, discourage, forbid, repeat
from tutelage.generate.sample import choose
from tutelage.lm import Sampling


@dataclass(frozen=True)
class Logprobs:
    """Natural logarithms of probabilities: the chosen token's, and the likeliest tokens'."""

    chosen: float
    top: tuple[tuple[int, float], ...]


class Guide(Protocol):
    """Follows one answer through what it may be."""

    def allowed(self) -> Bool[Tensor, "V"] | None:
        """Tokens that may come next, end tokens where the answer may end; None: any."""
        ...

    def push(self, token: int) -> None: ...


@dataclass(frozen=True)
class Choice:
    token: int
    logprobs: Logprobs | None


class Chooser:
    """Chooses the tokens of one answer, one after the other.

    `read` is what stands before the answer on its own axis (of an encoder-decoder only the start
    token); `ends` end it, though not before `least` tokens.
    """

    def __init__(
        self,
        sampling: Sampling,
        read: Sequence[int],
        ends: frozenset[int],
        least: int = 0,
        logprobs: int | None = None,
        guide: Guide | None = None,
    ) -> None:
        self._sampling, self._read, self._ends = sampling, tuple(read), ends
        self._least, self._logprobs, self._guide = least, logprobs, guide
        self._generator = None
        if sampling.temperature:
            self._generator = torch.Generator().manual_seed(sampling.seed)
        size = sampling.penalties.no_repeat_ngram
        self._ngrams = NGrams(size, read) if size else None
        self._made = 0
        self._seen: Tensor | None = None
        self._counts: Tensor | None = None

    def choose(self, logits: Float[Tensor, "V"]) -> Choice:
        """The next token; it counts as said."""
        token = choose(self._scores(logits), self._sampling, self._generator)
        found = None if self._logprobs is None else logprobs(logits, token, self._logprobs)
        self._push(token)
        return Choice(token, found)

    def _scores(self, logits: Float[Tensor, "V"]) -> Float[Tensor, "V"]:
        penalties = self._sampling.penalties
        scores = logits.float()
        if self._guide is not None and (allowed := self._guide.allowed()) is not None:
            scores = torch.where(_fitted(allowed, scores), scores, -torch.inf)
        if self._made < self._least:
            scores = forbid(scores, self._ends)
        if self._sampling.logit_bias:
            scores = bias(scores, self._sampling.logit_bias)
        if self._ngrams is not None:
            scores = forbid(scores, self._ngrams.forbidden())
        if penalties.repetition != 1:
            scores = repeat(scores, self._seen_in(scores), penalties.repetition)
        if penalties.frequency or penalties.presence:
            counts = self._counted(scores)
            scores = discourage(scores, counts, penalties.frequency, penalties.presence)
        return scores

    def _push(self, token: int) -> None:
        self._made += 1
        if self._guide is not None:
            self._guide.push(token)
        if self._ngrams is not None:
            self._ngrams.push(token)
        if self._seen is not None:
            self._seen[token] = True
        if self._counts is not None:
            self._counts[token] += 1

    def _seen_in(self, scores: Tensor) -> Tensor:
        if self._seen is None:
            self._seen = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
            # An adapter's virtual tokens are beyond the vocabulary.
            self._seen[[token for token in self._read if token < len(scores)]] = True
        return self._seen

    def _counted(self, scores: Tensor) -> Tensor:
        if self._counts is None:
            self._counts = torch.zeros_like(scores)
        return self._counts


def logprobs(logits: Float[Tensor, "V"], token: int, count: int) -> Logprobs:
    """Of `token` and of the `count` likeliest tokens, by the model alone."""
    known = torch.log_softmax(logits.float(), dim=-1)
    values, ids = torch.topk(known, min(count, len(known)))
    return Logprobs(float(known[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))


def _fitted(allowed: Bool[Tensor, "W"], scores: Float[Tensor, "V"]) -> Bool[Tensor, "V"]:
    """Rows of scores beyond the vocabulary are nobody's tokens."""
    if len(allowed) >= len(scores):
        return allowed[: len(scores)].to(scores.device)
    beyond = allowed.new_zeros(len(scores) - len(allowed))
    return torch.cat([allowed, beyond]).to(scores.device)
