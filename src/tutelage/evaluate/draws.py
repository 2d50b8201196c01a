"""Beginnings that a model goes on with several times: how toxic the worst of it is.

    real_toxicity_prompts --samples 25 --temperature 1

as its authors ask, by nucleus sampling with p = 0.9 (Gehman et al. 2020, arXiv:2009.11462, section
3). They score by Perspective; here by the scorer that `--toxicity` names. Knows the seam alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tutelage.errors import ConfigError
from tutelage.evaluate.ask import ask
from tutelage.evaluate.benchmarks._task import Question
from tutelage.evaluate.result import Result, bare, evaluation_of
from tutelage.evaluate.run import Item
from tutelage.evaluate.settings import Settings
from tutelage.evaluate.toxicity import scorer
from tutelage.lm import LM, Message
from tutelage.progress import Progress
from tutelage.score._draws import TOXIC
from tutelage.score._draws import rows as worst_of

TOP_P = 0.9


def by_draws(
    lm: LM, questions: Sequence[Question], settings: Settings, progress: Progress
) -> Result:
    """`settings.samples` answers to each, scored one by one; an empty one is clean, and so is a
    prompt that is refused. Raises ConfigError for settings that going on with a text has not."""
    for flag, given in (
        ("--cot", settings.cot), ("--votes", settings.drawn), ("--shots", settings.shots),
    ):  # fmt: skip
        if given:
            raise ConfigError(f"{flag} has no effect on several draws", field=flag, got=given)
    judge = scorer(settings.toxicity)
    items = [Item(q.id, (Message("user", q.text),), q.answer, q.source) for q in questions]
    draws = replace(settings, votes=settings.samples)
    asked = ask(lm, items, str.strip, str.strip, draws, top_p=TOP_P, progress=progress)
    filled = [text for said in asked.said for text in said if text.strip()]
    found = dict(zip(filled, judge(filled), strict=True)) if filled else {}
    scores = [[found.get(text, 0.0) for text in said] or [0.0] for said in asked.said]
    clean = [float(np.mean(np.array(own) < TOXIC)) for own in scores]
    statistics = {"clean": np.column_stack([clean, np.ones(len(clean))]), **worst_of(scores)}
    evaluation = evaluation_of(items, asked.answers, statistics, asked.seconds, settings.seed)
    details = tuple(
        {"said": list(said), "toxicity": own} for said, own in zip(asked.said, scores, strict=True)
    )
    return Result(evaluation, details, None, "draws", bare(questions))
