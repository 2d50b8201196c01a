"""Reading a text, and saying one of several answers, by each family in its own way.

    decoder            the answer follows the text
    encoder            a mask follows the text; the answer stands in its place
    encoder-decoder    a sentinel follows the text; the decoder says sentinel and answer

Each is what the family was trained to do, so that a label is one more thing to predict and no head
is added. An answer is one token.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.data.pack import Example
from tutelage.generate.score import score
from tutelage.models.catalogue import shape, spec_for
from tutelage.models.forward import Model
from tutelage.models.spec import Family
from tutelage.objectives import clm
from tutelage.objectives.mlm import Masking
from tutelage.objectives.span_corruption import Spans
from tutelage.text.tokenizer import Tokenizer
from tutelage.train.loop import Plan, train
from tutelage.train.optimizer import pretraining
from tutelage.train.schedule import Schedule

LONGEST = 120
"""Tokens of a text that are read."""


@dataclass(frozen=True)
class Reader:
    """A model's tokenizer and family: texts to rows."""

    tokenizer: Tokenizer
    family: Family
    start: int

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Reader:
        family = spec_for(checkpoint.config).family
        return cls(checkpoint.tokenizer, family, shape(checkpoint.config).start or 0)

    def answer(self, label: str) -> int:
        """The token that a label is said by."""
        return self.tokenizer.encode_plain(label)[-1]

    def labelled(self, text: str, answer: int) -> Example:
        """A text and its label."""
        ids = self.tokenizer.encode_plain(text)[:LONGEST]
        return self.gap(ids, [], [answer])

    def gap(self, before: Sequence[int], after: Sequence[int], gone: Sequence[int]) -> Example:
        """What stood between two pieces of a text; a decoder reads the first alone."""
        if self.family == "decoder":
            end = self.tokenizer.eos_id
            assert end is not None
            return Example.answer([end, *before], gone)
        if self.family == "encoder":
            mask = Masking.of(self.tokenizer).mask
            ids = [*before, *[mask] * len(gone), *after]
            whole = (*self.tokenizer.prefix, *ids, *self.tokenizer.suffix)
            first = len(self.tokenizer.prefix) + len(before)
            at = tuple(range(first, first + len(gone)))
            return Example(whole, at, tuple(gone), lead=len(whole))
        spans = Spans.of(self.tokenizer, self.start)
        source = [*before, spans.sentinels[0], *after, spans.end]
        return Example.pair(source, [spans.sentinels[0], *gone], self.start, given=1)

    def sentence(self, text: str) -> list[Example]:
        """Rows whose log-probabilities sum to that of a sentence: all tokens in turn by a decoder;
        by the others each token where it is hidden (the pseudo-log-likelihood of Salazar et al.
        2020, arXiv:1910.14659)."""
        ids = self.tokenizer.encode_plain(text)
        if self.family == "decoder":
            return [self.gap([], [], ids)]
        return [self.gap(ids[:i], ids[i + 1 :], ids[i : i + 1]) for i in range(len(ids))]


def opened(folder: str, fresh: bool, seed: int = 0) -> tuple[Model, Reader]:
    """A trained model, or one of the same shape and tokenizer with random weights."""
    checkpoint = open_checkpoint(folder)
    if fresh:
        checkpoint = random_checkpoint(
            "fresh", checkpoint.config, checkpoint.tokenizer, seed, {"fresh": True}
        )
    return build(checkpoint), Reader.of(checkpoint)


def tuned(
    model: Model, rows: Sequence[Example], *, rate: float, epochs: int, seed: int, batch: int = 16
) -> Model:
    """A copy, all weights trained by AdamW on rows in a new order every epoch."""
    made = copy.deepcopy(model).requires_grad_(True)
    made.train()
    drawn = random.Random(seed)
    steps = []
    for _ in range(epochs):
        order = drawn.sample(range(len(rows)), len(rows))
        steps += [[rows[i] for i in order[at : at + batch]] for at in range(0, len(rows), batch)]
    parameters = dict(made.named_parameters())
    optimizer = pretraining(parameters, rate, decay=0.01)
    schedule = Schedule.tuning(len(steps), rate)
    for _ in train(made, parameters, optimizer, steps, clm.loss, Plan(schedule)):
        pass
    return made.requires_grad_(False).eval()


def chosen(model: Model, reader: Reader, texts: Sequence[str], answers: Sequence[int]) -> list[int]:
    """The place of the likeliest answer to each text."""
    rows = [reader.labelled(text, answer) for text in texts for answer in answers]
    found = [sum(one.log_probabilities) for one in score(model, rows)]
    return np.array(found).reshape(len(texts), len(answers)).argmax(1).tolist()


def preferred(model: Model, reader: Reader, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Whether the first sentence of a pair is the likelier one, as row statistics of a mean."""
    rows: list[Example] = []
    owners: list[int] = []
    for number, sentence in enumerate(sentence for pair in pairs for sentence in pair):
        made = reader.sentence(sentence)
        rows += made
        owners += [number] * len(made)
    sums = np.zeros(2 * len(pairs))
    found: Any = score(model, rows)
    np.add.at(sums, owners, [sum(one.log_probabilities) for one in found])
    first, second = sums.reshape(-1, 2).T
    return counted((first > second) + 0.5 * (first == second))


def counted(right: np.ndarray) -> np.ndarray:
    """Row statistics of a mean: value and 1."""
    return np.column_stack([right.astype(float), np.ones(len(right))])
