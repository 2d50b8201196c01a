"""`tutelage eval --data F`: rows of the user's, and what of them training may have shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import NotNumbersError, SourceError

if TYPE_CHECKING:
    from tutelage.cli.eval_settings import Known
    from tutelage.cli.shared import Shared
    from tutelage.data.rows import Loaded, Row
    from tutelage.evaluate.run import Evaluation, Item
    from tutelage.evaluate.selection import Selection
    from tutelage.evaluate.settings import Settings
    from tutelage.lm import LM
    from tutelage.progress import Progress
    from tutelage.score._metric import Metric


@dataclass(frozen=True)
class Asked:
    """Which rows, and what of them."""

    data: str | None
    metrics: tuple[str, ...]
    examples: str | None
    limit: int | None
    strict: bool


def run_rows(
    opened: Callable[[], LM], model: str, asked: Asked, metrics: Sequence[Metric],
    settings: Settings, progress: Progress,
) -> tuple[dict[str, Any], Evaluation, list[Item]]:  # fmt: skip
    """The evaluation as a file, as it is, and its bare items. The data are read before the model is
    opened."""
    from tutelage.data.load import load
    from tutelage.evaluate.file import as_file
    from tutelage.evaluate.selection import select
    from tutelage.evaluate.tasks import items_of
    from tutelage.score import METRICS, STANDARD

    data = str(asked.data)
    loaded = load(data, answered=True, strict=asked.strict)
    pool = None
    if asked.examples is not None:
        pool = load(asked.examples, answered=True, strict=asked.strict)
    lm = opened()
    if asked.metrics == STANDARD and lm.capabilities().metrics:
        metrics = [METRICS.get(name) for name in lm.capabilities().metrics]
    chosen = select(
        lm, loaded, pool, data,
        shots=settings.shots, limit=asked.limit, max_new_tokens=settings.max_new_tokens,
        seed=settings.seed, strict=asked.strict,
    )  # fmt: skip
    with at_fault(model):
        evaluation, details = _measured(lm, chosen, metrics, settings, progress)
    result = as_file(evaluation, model, data if ":" in data else Path(data).name, settings.shots)
    for item, more in zip(result["items"], details, strict=False):
        item |= more
    result |= {**chosen.described(), "notes": _notes(loaded, pool, asked.examples)}
    result |= {"how": "words", "calibration": None, "published": []}
    return result, evaluation, items_of(chosen.rows)


@contextmanager
def at_fault(model: str) -> Iterator[None]:
    """Raises SourceError in the place of NotNumbersError: a model that cannot be measured."""
    try:
        yield
    except NotNumbersError as error:
        raise SourceError(
            f"{model} cannot be measured: {error.message}",
            field="MODEL", got=f"{error.got or 'no number'} at {error.field}", expected="numbers",
            hint=error.hint,
        ) from None  # fmt: skip


def _measured(
    lm: LM, chosen: Selection, metrics: Sequence[Metric], settings: Settings, progress: Progress
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """With what was said behind each answer, where the answer is not all that was said."""
    from tutelage.evaluate.ask import ask
    from tutelage.evaluate.run import score
    from tutelage.evaluate.tasks import evaluate_rows, items_of, stop_texts
    from tutelage.prompts.chain_of_thought import final_answer, solved, step_by_step
    from tutelage.score._normalise import short_answer

    length, seed = settings.max_new_tokens, settings.seed
    if not settings.cot and not settings.drawn:
        found = evaluate_rows(
            lm, chosen.rows, chosen.examples, metrics,
            max_new_tokens=length, progress=progress, seed=seed,
        )  # fmt: skip
        return found, []
    shown = [solved(one) for one in chosen.examples] if settings.cot else chosen.examples
    items = items_of(chosen.rows, shown)
    if settings.cot:
        items = [replace(item, prompt=step_by_step(_turns(item.prompt))) for item in items]
    extract = final_answer if settings.cot else _whole
    stop = stop_texts(chat=lm.capabilities().chat)
    asked = ask(lm, items, extract, short_answer, settings, stop=stop, progress=progress)
    details = [
        {"said": list(said), "agreement": share}
        for said, share in zip(asked.said, asked.agreement, strict=True)
    ]
    return score(items, asked.answers, metrics, seconds=asked.seconds, seed=seed), details


def _turns(prompt: Any) -> Any:
    from tutelage.lm import Message

    return (Message("user", prompt),) if isinstance(prompt, str) else prompt


def _whole(text: str) -> str | None:
    return text.strip() or None


def leaks_of(
    evaluation: Evaluation, bare: Sequence[Item], train: Sequence[Row], known: Known, shared: Shared
) -> dict[str, Any]:
    """Items that rows of training give away, and every metric without them. `bare` are the items
    without examples and instructions."""
    from tutelage.evaluate.leaks import as_json, leaked

    embed = None
    if known.encoder is not None:
        from tutelage.cli.generate import open_model

        embed = open_model(known.encoder, None, None, shared).embed
    found = leaked(train, bare, embed)
    return as_json(found, evaluation, len(train), shared.seed or 0)


def _notes(loaded: Loaded, pool: Loaded | None, examples: str | None) -> list[str]:
    """What is to be said of the data, and of the rows of the examples' own that cannot be shown."""
    from tutelage.data.told import counted

    notes = list(loaded.notes)
    if pool is not None and pool.set_aside:
        first = pool.set_aside[0]
        notes.append(
            f"of {examples} {counted(pool.reasons())} were set aside; the first: {first.where}: "
            f"{first.detail}"
        )
    return notes
