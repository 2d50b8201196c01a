"""Ask a language model every item once, score the answers, and keep all that was said.

    evaluation = evaluate(lm, items, ["rougeL", "bleu"], max_new_tokens=64)
    evaluation.measured["rougeL"]                    # value, low, high, n
    Evaluation.from_json(evaluation.to_json())       # equal

Knows the seam alone: no backend, no data file. A prompt the model cannot take whole is refused, not
shortened; it scores as an empty answer, so that every system is measured on the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from tutelage import store
from tutelage.errors import DamagedError, RequestError, WorkError
from tutelage.evaluate.statistics import Measured, measured
from tutelage.lm import LM, Completion, Message, Prompt, Request, Sampling, complete
from tutelage.progress import Progress, silent
from tutelage.score import METRICS
from tutelage.score._collapse import Collapse, collapse
from tutelage.score._metric import Metric
from tutelage.text.plain_text import source
from tutelage.text.task_text import choices_in

Ending = Literal["stop", "length", "cancelled", "refused"]
VERSION = 1
WARM_TOKENS = 2
"""One as a prompt is read, one as an answer goes on."""


@dataclass(frozen=True)
class Item:
    """One question with its right answer. `source` is the document it came from, where known."""

    id: str
    prompt: Prompt
    reference: str
    source: str | None = None


@dataclass(frozen=True)
class Answer:
    """What the model said to the item of the same id, whitespace and all.

    `finish_reason` is the model's, or "refused": the prompt does not fit, nothing was asked.
    """

    id: str
    text: str
    finish_reason: Ending
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Items, answers, the row statistics of every metric, and the values measured from them."""

    items: tuple[Item, ...]
    answers: tuple[Answer, ...]
    statistics: Mapping[str, np.ndarray]
    measured: Mapping[str, Measured]
    seconds: float
    """Wall time of answering, by a model that is open and has answered before; without scoring."""
    prompt_sha256: str
    """Over all ids and prompts in their order."""

    @property
    def truncated(self) -> int:
        """Prompts shortened to fit: always 0, a prompt that does not fit is refused."""
        return 0

    @property
    def refused(self) -> int:
        return self._count("refused")

    @property
    def cut_off(self) -> int:
        """Answers that ended at the limit of new tokens rather than by themselves."""
        return self._count("length")

    @property
    def extraction_rate(self) -> float:
        """Share of items with an answer to score: not refused and not blank."""
        return sum(bool(answer.text.strip()) for answer in self.answers) / len(self.answers)

    @property
    def valid(self) -> bool:
        """Whether every item was asked and answered to an end, and some answer says something."""
        return self.refused == 0 and self._count("cancelled") == 0 and self.extraction_rate > 0

    @property
    def collapse(self) -> Collapse | None:
        """The one answer to all that was asked, where what is right varies."""
        both = zip(self.items, self.answers, strict=True)
        asked = [(item, answer.text) for item, answer in both if answer.finish_reason != "refused"]
        return collapse(
            [text for _, text in asked],
            [item.reference for item, _ in asked],
            [choices_in(_text(item.prompt))[1] for item, _ in asked],
        )

    @property
    def prompt_tokens_mean(self) -> float | None:
        """Over the items asked; None if none was."""
        return self._mean("prompt_tokens")

    @property
    def answer_tokens_mean(self) -> float | None:
        """Over the items asked; None if none was."""
        return self._mean("completion_tokens")

    def to_json(self) -> dict[str, Any]:
        """Plain values from which `from_json` builds an equal evaluation."""
        return {
            "version": VERSION,
            "items": [asdict(item) for item in self.items],
            "answers": [asdict(answer) for answer in self.answers],
            "statistics": {name: rows.tolist() for name, rows in self.statistics.items()},
            "measured": {name: dict(value) for name, value in self.measured.items()},
            "seconds": self.seconds,
            "prompt_sha256": self.prompt_sha256,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`. Raises DamagedError if a part is missing or does not fit."""
        try:
            return cls(
                items=tuple(_item(one) for one in value["items"]),
                answers=tuple(Answer(**one) for one in value["answers"]),
                statistics={
                    name: np.asarray(rows, dtype=float).reshape(len(value["items"]), -1)
                    for name, rows in value["statistics"].items()
                },
                measured=value["measured"],
                seconds=value["seconds"],
                prompt_sha256=value["prompt_sha256"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"not a stored evaluation: {error!r}", field="evaluation") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evaluation) and self.to_json() == other.to_json()

    def _count(self, ending: Ending) -> int:
        return sum(answer.finish_reason == ending for answer in self.answers)

    def _mean(self, field: str) -> float | None:
        asked = [getattr(a, field) for a in self.answers if a.finish_reason != "refused"]
        return sum(asked) / len(asked) if asked else None


def evaluate(
    lm: LM,
    items: Sequence[Item],
    metrics: Sequence[str | Metric],
    *,
    max_new_tokens: int,
    stop: Sequence[str] = (),
    sampling: Sampling = Sampling(),
    progress: Progress = silent,
    seed: int = 0,
) -> Evaluation:
    """Answer all items and measure all metrics; `seed` is that of the intervals.

    Raises RequestError for no items or an id given twice, UnknownName for a metric, WorkError if
    the model leaves an item without an answer.
    """
    _check(items)
    _found(metrics)
    answers, seconds = _answer(lm, items, max_new_tokens, tuple(stop), sampling, progress)
    return score(items, answers, metrics, seconds=seconds, seed=seed)


def score(
    items: Sequence[Item],
    answers: Sequence[Answer],
    metrics: Sequence[str | Metric],
    *,
    seconds: float,
    seed: int = 0,
) -> Evaluation:
    """The evaluation of answers already given. Surrounding whitespace of answers is not scored."""
    references = [item.reference for item in items]
    texts = [answer.text.strip() for answer in answers]
    found = _found(metrics)
    statistics = {metric.name: metric.statistics(references, texts) for metric in found}
    return Evaluation(
        items=tuple(items),
        answers=tuple(answers),
        statistics=statistics,
        measured={
            m.name: measured(statistics[m.name], m.aggregate, seed, limits=m.limits) for m in found
        },
        seconds=seconds,
        prompt_sha256=store.digest([[item.id, plain(item.prompt)] for item in items]),
    )


def _found(metrics: Sequence[str | Metric]) -> list[Metric]:
    """By name, or as they are: a metric that was handed an encoder. Raises UnknownName."""
    return [METRICS.get(m, field="metric") if isinstance(m, str) else m for m in metrics]


def _check(items: Sequence[Item]) -> None:
    if not items:
        raise RequestError("there is nothing to evaluate", field="items", got=0, expected=">= 1")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise RequestError("two items have one id", field="items", got=item.id)
        seen.add(item.id)


def _answer(
    lm: LM,
    items: Sequence[Item],
    max_new_tokens: int,
    stop: tuple[str, ...],
    sampling: Sampling,
    progress: Progress,
) -> tuple[list[Answer], float]:
    """An answer to every item, and the seconds the model took for them."""
    answers = refused(lm, items, max_new_tokens)
    asked = [place for place in range(len(items)) if place not in answers]
    requests = [Request(items[place].prompt, max_new_tokens, sampling, stop) for place in asked]
    progress("answers", len(answers), len(items))
    _warm_up(lm, requests)
    begun = time.perf_counter()
    for event in lm.generate(requests) if requests else ():
        if isinstance(event, Completion):
            place = asked[event.index]
            answers[place] = _from_completion(items[place].id, event)
            progress("answers", len(answers), len(items))
    seconds = time.perf_counter() - begun
    if len(answers) != len(items):
        missing = next(item.id for place, item in enumerate(items) if place not in answers)
        raise WorkError("the model left an item without an answer", field="items", got=missing)
    return [answers[place] for place in range(len(items))], seconds


def refused(lm: LM, items: Sequence[Item], max_new_tokens: int) -> dict[int, Answer]:
    """By place, the items whose prompt leaves no room for the longest answer."""
    context, writes = lm.capabilities().context, lm.capabilities().writes
    if context is None:
        return {}
    found = {}
    for place, item in enumerate(items):
        tokens = lm.count_tokens(item.prompt)
        if tokens is not None and tokens + max_new_tokens * writes > context:
            found[place] = Answer(item.id, "", "refused", tokens, 0)
    return found


def _warm_up(lm: LM, requests: Sequence[Request]) -> None:
    """Begin an answer that nobody reads: what a model loads and sets up at its first one is no part
    of what each answer takes."""
    for first in requests[:1]:
        complete(lm, [replace(first, max_new_tokens=WARM_TOKENS)])


def _from_completion(id: str, completion: Completion) -> Answer:
    return Answer(
        id,
        completion.text,
        completion.finish_reason,
        completion.prompt_tokens,
        completion.completion_tokens,
    )


def plain(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [asdict(message) for message in prompt]


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else source(prompt)


def _item(value: Mapping[str, Any]) -> Item:
    prompt = value["prompt"]
    if not isinstance(prompt, str):
        prompt = tuple(Message(**message) for message in prompt)
    return Item(value["id"], prompt, value["reference"], value["source"])
