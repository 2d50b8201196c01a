"""Speculation: tokens are guessed cheaply, and the model reads several guesses in one step.

A guess counts only where it is the very token that would have been chosen without it, greedy or
drawn, under every setting: from the scores before it the row's own chooser takes its token, and as
long as that is the guess, the scores after it are good too. So the text is that of plain decoding,
and guesses only decide how many tokens a step gives.

Sources: guesses by a draft model, Leviathan et al. 2023, arXiv:2211.17192 (who accept by a ratio of
probabilities instead, which keeps the distribution but not the text); from the prompt, Saxena
2023, "Prompt Lookup Decoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tutelage.decoding import MOST_GUESSES
from tutelage.errors import ConfigError
from tutelage.generate.rows import Rows, first_read
from tutelage.models.forward import Model
from tutelage.models.transformer import Transformer
from tutelage.text.tokenizer import Tokenizer

LONGEST_MATCH = 3
SHORTEST_MATCH = 2
"""Tokens that must stand earlier for what followed them to be guessed."""


class Proposer(Protocol):
    """Guesses for one row."""

    def propose(self, made: Sequence[int], count: int) -> list[int]:
        """At most `count` tokens that may follow the answer so far."""
        ...


@dataclass(frozen=True)
class Speculation:
    """Where guesses come from: the text so far, or a `draft` model of the same vocabulary.

    Raises ConfigError.
    """

    tokens: int = 5
    draft: Model | None = None

    def __post_init__(self) -> None:
        if self.draft is not None and not isinstance(self.draft, Transformer):
            raise ConfigError("a draft model must be a decoder", field="draft")

    def proposer(self, prompt: Sequence[int], room: int) -> Proposer:
        """For a row of this prompt and at most `room` tokens behind it."""
        if self.draft is None:
            return Lookup(prompt)
        return Draft(self.draft, prompt, room)


class Lookup:
    """What followed the last two or three tokens where they last stood, in prompt or answer."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._prompt = len(prompt)
        self._after: dict[tuple[int, ...], int] = {}
        self._extend(prompt)

    def propose(self, made: Sequence[int], count: int) -> list[int]:
        self._extend(made[len(self._tokens) - self._prompt :])
        for size in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
            place = self._after.get(tuple(self._tokens[-size:]))
            if place is not None:
                return self._tokens[place : place + count]
        return []

    def _extend(self, tokens: Sequence[int]) -> None:
        """Remember what each new token followed; the last tokens themselves are followed yet."""
        for token in tokens:
            end = len(self._tokens)
            for size in range(SHORTEST_MATCH, LONGEST_MATCH + 1):
                if end >= size:
                    self._after[tuple(self._tokens[end - size :])] = end
            self._tokens.append(token)


class Draft:
    """The likeliest tokens of a smaller model, which keeps a cache of its own."""

    def __init__(self, model: Model, prompt: Sequence[int], room: int) -> None:
        # What an adapter of the model puts before its rows means nothing to another model.
        vocabulary = len(model.head_weight)
        read = first_read(model, [token for token in prompt if token < vocabulary])
        self._start = len(read.ids)
        self._rows = Rows.of(model, 1, self._start + room + MOST_GUESSES)
        self._rows.read([0], [read])
        self._fed: list[int] = []

    def propose(self, made: Sequence[int], count: int) -> list[int]:
        kept = 0
        while kept < min(len(self._fed), len(made)) and self._fed[kept] == made[kept]:
            kept += 1
        self._rows.cache.lengths[0] = self._start + kept
        self._fed = list(made[:kept])
        guesses: list[int] = []
        waiting = list(made[kept:])
        while len(guesses) < count:
            for token in waiting:
                logits = self._rows.step([0], [token])
                self._fed.append(token)
            guesses.append(int(logits[0].argmax()))
            waiting = guesses[-1:]
        return guesses


def held_alike(model: Tokenizer, draft: Tokenizer, source: str) -> None:
    """Raises ConfigError where a draft model's vocabulary is another one: its ids would be other
    texts."""
    alike = model.vocabulary == draft.vocabulary and all(
        model.token(id) == draft.token(id) for id in range(model.vocabulary)
    )
    if not alike:
        raise ConfigError(
            f"{source} has another vocabulary than the model",
            field="draft",
            got=f"{draft.vocabulary} tokens",
            expected=f"the model's {model.vocabulary}",
            hint="a draft model is a smaller one of the same family",
        )


def can_look_ahead(rows: Rows, exact: bool) -> bool:
    """Whether tokens can be read ahead and taken back, in `exact` with the same bits as one by one
    (only the kernel's are)."""
    return not rows.cache.states and (not exact or rows.stepper is not None)


def verified(rows: Rows, slots: Sequence[int], fed: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Scores after every token of each row's last token and guesses, row by row."""
    flat = [slot for slot, tokens in zip(slots, fed, strict=True) for _ in tokens]
    logits = rows.ahead(flat, [token for tokens in fed for token in tokens])
    return list(logits.split([len(tokens) for tokens in fed]))
