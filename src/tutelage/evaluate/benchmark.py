"""A benchmark measured: its questions put as its file says, with the settings of the user.

    result = measure(lm, task, folder, settings, limit=100)
    result.evaluation          as of any rows; compare reads its file

Choices are scored where the model gives probabilities and nothing asks for words (`--cot`,
`--votes`, `--written`); else a letter is asked for. Knows the seam alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.accepted import by_letters, by_texts, nearest
from tutelage.evaluate.ask import Asked, ask
from tutelage.evaluate.benchmarks._task import LETTERS, Question, Task, by_letter
from tutelage.evaluate.choose import Choice, Chosen, choose
from tutelage.evaluate.code import by_tests, printed, protection
from tutelage.evaluate.draws import by_draws
from tutelage.evaluate.pairs import by_pairs
from tutelage.evaluate.result import Result, bare, evaluation_of
from tutelage.evaluate.run import Answer, Evaluation, Item, score
from tutelage.evaluate.settings import Settings
from tutelage.evaluate.tasks import stop_texts
from tutelage.lm import LM, Message, Prompt
from tutelage.progress import Progress, silent
from tutelage.prompts.chain_of_thought import final_answer, solved, step_by_step
from tutelage.prompts.few_shot import Example, with_examples
from tutelage.prompts.programs import program_asked
from tutelage.score._calibration import reliability
from tutelage.score._normalise import label

FEWEST = 2


def measure(
    lm: LM,
    task: Task,
    folder: Path | None,
    settings: Settings,
    *,
    limit: int | None = None,
    progress: Progress = silent,
) -> Result:
    """Every question of the task, or the first `limit` spread evenly over its sources.

    Raises DataError for missing or too few data, ConfigError for what the model cannot do.
    """
    place = task.data(folder)
    questions = _spread(list(task.questions(place)), limit)
    if len(questions) < FEWEST:
        raise DataError(
            f"too few questions of {task.name}", field="--data", got=len(questions), expected=">= 2"
        )
    shown = {} if settings.pal else _shown(task, place, settings, questions)
    scores = lm.capabilities().score
    if task.kind == "pair" and not scores:
        raise ConfigError(
            f"{task.name} compares probabilities, which this model does not give",
            field="MODEL", expected="a local model",
        )  # fmt: skip
    written = settings.written or settings.cot or settings.drawn or settings.pal
    if task.kind == "code":
        return by_tests(lm, questions, settings, progress)
    if task.drawn and settings.samples > 1:
        return by_draws(lm, questions, settings, progress)
    if task.kind != "answer" and scores and not written:
        return _by_likelihood(lm, task, questions, shown, settings, progress)
    if task.kind == "pair":
        raise ConfigError("pairs are scored, not written", field="--cot, --votes, --written")
    return _in_words(lm, task, questions, shown, settings, progress)


Shown = Mapping[str | None, tuple[Question, ...]]
"""Solved questions to show, by source where a task asks for its own subject's."""


def _by_likelihood(
    lm: LM, task: Task, questions: Sequence[Question], shown: Shown, settings: Settings,
    progress: Progress,
) -> Result:  # fmt: skip
    choices = [_choice(task, question, _of(task, shown, question)) for question in questions]
    found = choose(lm, choices, progress)
    items, answers = [], []
    for question, one, got in zip(questions, choices, found.places, strict=True):
        items.append(Item(question.id, one.prompt, question.answer, question.source))
        answers.append(Answer(question.id, question.choices[got], "stop", 0, 0))
    statistics = _of_choices(task, questions, found)
    evaluation = evaluation_of(items, answers, statistics, found.seconds, settings.seed)
    details = tuple(
        {"choices": list(q.choices), "probabilities": p.tolist()}
        for q, p in zip(questions, found.probabilities, strict=True)
    )
    bins = None if task.kind == "pair" else reliability(found.statistics["ece"].sum(axis=0))
    return Result(evaluation, details, bins, "likelihood", bare(questions))


def _of_choices(task: Task, questions: Sequence[Question], found: Chosen) -> dict[str, np.ndarray]:
    """What the task is measured by, and of choices what their probabilities say besides."""
    if task.kind == "pair":
        return by_pairs(task.metrics, found.logs)
    said = [q.choices[place] for q, place in zip(questions, found.places, strict=True)]
    hits = found.statistics["accuracy"][:, 0]
    return {**by_texts(task, questions, said, hits), **found.statistics}


def _choice(task: Task, question: Question, shown: Sequence[Question]) -> Choice:
    """A raw prompt, and the continuations: letters, or the choices' own texts."""
    if task.kind == "pair":
        # Every model scores behind something; a line's end says nothing of what follows.
        return Choice("\n", question.choices, question.right)
    before = "".join(_solved(task, one) + "\n\n" for one in shown)
    names = LETTERS[: len(question.choices)] if task.letters else question.choices
    continuations = tuple(f" {name.strip()}" for name in names)
    prompt = before + _asked(task, question)
    return Choice(prompt, continuations, question.right, question.rights)


def _asked(task: Task, question: Question) -> str:
    listed = f"\n{by_letter(question.choices)}" if task.letters else ""
    return f"Question: {question.text.strip()}{listed}\nAnswer:"


def _solved(task: Task, question: Question) -> str:
    answer = LETTERS[question.right] if task.letters else question.answer.strip()
    return f"{_asked(task, question)} {answer}"


def _in_words(
    lm: LM, task: Task, questions: Sequence[Question], shown: Shown, settings: Settings,
    progress: Progress,
) -> Result:  # fmt: skip
    """Questions as turns of a conversation; of choices a letter is asked for."""
    chosen = task.kind == "choice"
    items = []
    for question in questions:
        examples = [_example(one, chosen, settings) for one in _of(task, shown, question)]
        turns: tuple[Message, ...] = (Message("user", _worded(question, chosen)),)
        turns = step_by_step(turns) if settings.cot else turns
        turns = program_asked(turns, settings.shots) if settings.pal else turns
        prompt: Prompt = with_examples(turns, examples)
        reference = LETTERS[question.right] if chosen else question.answer
        items.append(Item(question.id, prompt, reference, question.source))
    form = label if chosen else task.form
    extract = _letter if chosen else task.extract
    more: dict[str, Any] = {}
    if settings.pal:
        # Before the model writes anything: whether its programs may be run here at all.
        more, extract = protection(settings), partial(_computed, extract, settings)
    stop = stop_texts(chat=lm.capabilities().chat)
    asked = ask(lm, items, extract, form, settings, stop=stop, progress=progress)
    evaluation = _scored(task, questions, items, asked, settings)
    details = tuple(
        {"said": list(said), "agreement": share}
        for said, share in zip(asked.said, asked.agreement, strict=True)
    )
    how = "program" if settings.pal else "words"
    return Result(evaluation, details, None, how, bare(questions), more)


def _scored(
    task: Task, questions: Sequence[Question], items: Sequence[Item], asked: Asked,
    settings: Settings,
) -> Evaluation:  # fmt: skip
    if task.kind == "choice":
        letters = [answer.text for answer in asked.answers]
        statistics = by_letters(task, questions, letters)
        return evaluation_of(items, asked.answers, statistics, asked.seconds, settings.seed)
    texts = [replace(answer, text=task.form(answer.text)) for answer in asked.answers]
    formed = [
        replace(item, reference=task.form(nearest(question, text.text, task.form)))
        for item, question, text in zip(items, questions, texts, strict=True)
    ]
    scored = score(formed, texts, task.metrics, seconds=asked.seconds, seed=settings.seed)
    return replace(scored, items=tuple(items), answers=asked.answers)


def _computed(extract: Callable[[str], str | None], settings: Settings, said: str) -> str | None:
    """The answer in what the program prints that was written."""
    text = printed(said, settings)
    return None if text is None else extract(text)


def _worded(question: Question, chosen: bool) -> str:
    if not chosen:
        return question.text
    listed = by_letter(question.choices)
    return f"{question.text.strip()}\n{listed}\nAnswer with the letter alone."


def _example(question: Question, chosen: bool, settings: Settings) -> Example:
    answer = LETTERS[question.right] if chosen else question.answer
    asked = (Message("user", _worded(question, chosen)),)
    example = Example(asked, answer, question.source)
    return solved(example, question.steps) if settings.cot else example


def _letter(text: str) -> str | None:
    """The letter an answer names: behind 'the answer is', or the first that stands alone."""
    for part in (final_answer(text), text):
        for word in (part or "").replace("(", " ").replace(")", " ").split():
            bare = word.strip(".,:;*'\"")
            if len(bare) == 1 and bare.upper() in LETTERS and (bare.isupper() or bare == word):
                return bare.upper()
    return None


def _shown(task: Task, place: Path, settings: Settings, asked: Sequence[Question]) -> Shown:
    """The first solved examples of the task, or of each subject."""
    if settings.shots == 0:
        return {}
    if task.examples is None:
        raise ConfigError(
            f"{task.name} has no solved examples to show", field="--shots", got=settings.shots,
            expected="0",
        )  # fmt: skip
    named = {question.id for question in asked}
    pool: dict[str | None, list[Question]] = {}
    for one in task.examples(place):
        key = one.source if task.same_source else None
        if one.id not in named and len(pool.setdefault(key, [])) < settings.shots:
            pool[key].append(one)
    fewest = min((len(found) for found in pool.values()), default=0)
    if fewest < settings.shots:
        raise ConfigError(
            "not so many examples", field="--shots", got=settings.shots,
            expected=f"at most {fewest}",
        )  # fmt: skip
    return {key: tuple(found) for key, found in pool.items()}


def _of(task: Task, shown: Shown, question: Question) -> tuple[Question, ...]:
    return shown.get(question.source if task.same_source else None, ())


def _spread(questions: list[Question], limit: int | None) -> list[Question]:
    """The first `limit`, taken from each source in turn, in the order of the data."""
    if limit is None or limit >= len(questions):
        return questions
    by_source: dict[str | None, list[int]] = {}
    for place, question in enumerate(questions):
        by_source.setdefault(question.source, []).append(place)
    longest = max(map(len, by_source.values()))
    turns = (
        places[turn] for turn in range(longest) for places in by_source.values()
        if turn < len(places)
    )  # fmt: skip
    return [questions[place] for place in sorted(islice(turns, limit))]
