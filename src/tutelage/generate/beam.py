"""Beam search, and beams that are steered by functions of the text.

    score(y_1..t) = score(y_1..t-1) + log p(y_t) [- diversity n_t(y_t)] [+ sum_i alpha_i f_i(text)]
    worth of an answer of n tokens, its end token among them = score / n^length_penalty

n_t(y) is how many beams of earlier groups took y in this step. A beam that draws an end token, or
reaches the limit, among the `width` best continuations is an answer; the search ends when no beam
can become better than the worst of `width` answers by its present length.

Bookkeeping as transformers' (`_beam_search`), group by group; the groups' source is named in
`decoding.Beam`, and that of steering is Meister et al. 2020, arXiv:2010.02650, equation 5: a
regularised objective. The f_i are asked of the 2 x width likeliest continuations of each beam.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.decoding import Beam
from tutelage.generate.job import Job
from tutelage.generate.rows import Rows
from tutelage.generate.sample import numbers
from tutelage.lm import FinishReason
from tutelage.models.forward import Model

Text = Callable[[Sequence[int]], str]
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """One answer, without its end token, and its worth."""

    tokens: Tokens
    finish: FinishReason
    score: float


@dataclass(frozen=True)
class Hypothesis:
    """The beginning of an answer; `row` is where its keys are."""

    tokens: Tokens
    score: float
    row: int


@torch.inference_mode()
def beam_search(
    model: Model, job: Job, beam: Beam, text: Text, stopped: Callable[[], bool]
) -> Generator[None, None, list[Found]]:
    """The best answers, best first; what was found so far where `stopped` says so. Yields once a
    step, so that others can be served between steps.

    `text` decodes tokens for the functions that steer.
    """
    read = job.read(model)
    rows = Rows.of(model, 1, len(read.ids) + job.max_new_tokens)
    logits = model.logits(rows.read([0], [read]))
    each = beam.width // beam.groups
    groups = [Group(job, beam, each, text) for _ in range(beam.groups)]
    for made in itertools.count(1):
        if stopped():
            break
        taken: list[int] = []
        known = torch.log_softmax(numbers(logits, made), dim=-1)
        for group in groups:
            if group.open:
                group.advance(known, taken)
                taken += [one.tokens[-1] for one in group.running]
        running: list[tuple[int, int]] = []
        for group in groups:
            running += group.placed(len(running))
        if not running:
            break
        rows.cache.keep(rows.tensor([row for row, _ in running]))
        logits = rows.step(range(len(running)), [token for _, token in running])
        yield
    found = [one for group in groups for one in group.answers()]
    return sorted(found, key=lambda one: -one.score)[: beam.returned]


class Group:
    """One beam search of `width` beams."""

    def __init__(self, job: Job, beam: Beam, width: int, text: Text) -> None:
        self._job, self._beam, self._width, self._text = job, beam, width, text
        self.running = [Hypothesis((), 0.0, 0)]
        self._done: list[Found] = []
        self.open = True

    def advance(self, known: Float[Tensor, "R V"], taken: Sequence[int]) -> None:
        """One token more, from the log-probabilities after each row's tokens."""
        best = self._continuations(known, taken)
        self.running = [one for one in best if not self._ends(one)][: self._width]
        full = self._beam.early_stopping and len(self._done) == self._width
        for one in best[: self._width]:
            if self._ends(one) and not full:
                self._keep(one)
        self.open = bool(self.running) and not self._is_over()

    def placed(self, first: int) -> list[tuple[int, int]]:
        """Row of the parent and new token of each beam still running; from now on they stand in
        the rows from `first` on."""
        if not self.open:
            return []
        moved = [(one.row, one.tokens[-1]) for one in self.running]
        self.running = [replace(one, row=first + n) for n, one in enumerate(self.running)]
        return moved

    def answers(self) -> list[Found]:
        """What is complete, or else, of a search that was stopped, what there is."""
        if self._done:
            return self._done
        return [Found(one.tokens, "cancelled", one.score) for one in self.running]

    def _continuations(self, known: Float[Tensor, "R V"], taken: Sequence[int]) -> list[Hypothesis]:
        """The best ones, enough that `width` remain if all others end."""
        count = max(2, 1 + len(self._job.ends)) * self._width
        scores = known[[one.row for one in self.running]]
        if len(self.running[0].tokens) < self._job.min_new_tokens:
            scores[:, sorted(self._job.ends)] = -torch.inf
        if self._beam.diversity and taken:
            counts = torch.bincount(torch.tensor(taken), minlength=scores.shape[1])
            scores = scores - self._beam.diversity * counts.to(scores)
        scores = scores + scores.new_tensor([one.score for one in self.running])[:, None]
        if self._beam.features:
            return self._steered(scores)[:count]
        values, places = torch.topk(scores.flatten(), min(count, scores.numel()))
        vocabulary = scores.shape[1]
        return [
            self._continued(place // vocabulary, place % vocabulary, value)
            for place, value in zip(places.tolist(), values.tolist(), strict=True)
            if value > -torch.inf
        ]

    def _steered(self, scores: Float[Tensor, "R V"]) -> list[Hypothesis]:
        """The likeliest continuations of each beam with what the functions think of their texts."""
        values, tokens = torch.topk(scores, min(2 * self._width, scores.shape[1]))
        found = []
        for parent, (row, ids) in enumerate(zip(values.tolist(), tokens.tolist(), strict=True)):
            for value, token in zip(row, ids, strict=True):
                one = self._continued(parent, token, value)
                said = self._text(self._spoken(one))
                added = sum(alpha * f(said) for alpha, f in self._beam.features)
                found.append(Hypothesis(one.tokens, one.score + added, one.row))
        return sorted(found, key=lambda one: -one.score)

    def _continued(self, parent: int, token: int, score: float) -> Hypothesis:
        before = self.running[parent]
        return Hypothesis((*before.tokens, token), score, before.row)

    def _spoken(self, one: Hypothesis) -> Tokens:
        return one.tokens[:-1] if one.tokens[-1] in self._job.ends else one.tokens

    def _ends(self, one: Hypothesis) -> bool:
        return one.tokens[-1] in self._job.ends or len(one.tokens) >= self._job.max_new_tokens

    def _keep(self, one: Hypothesis) -> None:
        """An answer more, of which the `width` best stay."""
        ended = one.tokens[-1] in self._job.ends
        worth = one.score / len(one.tokens) ** self._beam.length_penalty
        self._done.append(Found(self._spoken(one), "stop" if ended else "length", worth))
        self._done = sorted(self._done, key=lambda each: -each.score)[: self._width]

    def _is_over(self) -> bool:
        """Whether `width` answers are there that no beam beats by its present length."""
        if len(self._done) < self._width:
            return False
        best = self.running[0]
        possible = best.score / len(best.tokens) ** self._beam.length_penalty
        return self._beam.early_stopping or possible <= self._done[-1].score
