"""Stages that measure what tuning cost elsewhere: loss on other text, distance from the base, and
answers to small general tasks.

The base model's scores and samples are computed once for all that is tuned from it. Knows which
texts and prompts are used; `evaluate/forgetting` knows what is computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tutelage import store
from tutelage.evaluate import forgetting, general
from tutelage.evaluate.tasks import items_of
from tutelage.lifecycle import answering
from tutelage.lifecycle.bench import Bench, Subject
from tutelage.lifecycle.stages import Result, Stage
from tutelage.lm import LM, Message
from tutelage.machine.memory import Peak, trim

CODE = (__name__, "tutelage.backends.open")
SAMPLES = 32
"""Development prompts to which the base answers freely, to measure the divergence on."""
SAMPLE_TOKENS = 32


def base_scores(bench: Bench, model: str) -> Result:
    """The base's own samples and its scores of them and of the retention texts."""
    base = Subject(model)

    def make() -> Result:
        begun = bench.tools.now()
        lm = bench.lm(base)
        rows = bench.material.development[:SAMPLES]
        items = items_of(rows)
        prompts = [item.prompt for item in items if forgetting.fits(lm, item.prompt, SAMPLE_TOKENS)]
        samples = forgetting.draw_samples(lm, prompts, SAMPLE_TOKENS, bench.seed)
        texts = forgetting.short_enough(lm, _pairs(bench))
        return {
            "samples": [[_plain(prompt), text] for prompt, text in samples],
            "texts": texts,
            "exam": exam_of(bench).description,
            "sample_scores": forgetting.text_scores(lm, samples).tolist(),
            "text_scores": forgetting.text_scores(lm, _kept(bench, texts)).tolist(),
            "general": general.asked(lm, exam_of(bench)),
            "seconds": bench.tools.now() - begun,
        }

    return bench.stages.run(Stage("forgetting-base", _inputs(bench, base), make, CODE))


def measured(bench: Bench, tuned: Subject) -> Result:
    """`{"forgetting": measured, "divergence": measured, "general", "seconds", "peak_bytes"}` of a
    tuned model: the first two in nats per token, `general` as `evaluate.general.kept` has it."""
    base = base_scores(bench, tuned.model)
    return bench.stages.run(_stage(bench, tuned, base))


def known(bench: Bench, tuned: Subject) -> bool:
    """Whether it was measured before."""
    return bench.stages.done(_stage(bench, tuned, {})) is not None


def _stage(bench: Bench, tuned: Subject, base: Result) -> Stage:
    def make() -> Result:
        bench.make_room(tuned)
        begun = bench.tools.now()
        with Peak() as peak:
            lm = bench.lm(tuned)
            answers = general.asked(lm, exam_of(bench))
            found = {
                "forgetting": _rise(bench, lm, _kept(bench, base["texts"]), base["text_scores"]),
                "divergence": _rise(bench, lm, _samples(base), base["sample_scores"]),
                "general": general.kept(base["general"], answers, bench.seed),
            }
        return {**found, "seconds": bench.tools.now() - begun, "peak_bytes": peak.bytes}

    name = f"forgetting-{tuned.method}"
    return Stage(name, _inputs(bench, tuned), make, CODE)


def _rise(
    bench: Bench, lm: LM, texts: list[forgetting.Pair], before: list[list[float]]
) -> Result | None:
    """How much more each token of the texts surprises than before; None where there is none that
    the tuned model has room for, whose virtual tokens take some of the context."""
    places = forgetting.short_enough(lm, texts)
    if not places:
        return None
    trim()  # texts of other lengths need arrays of other sizes
    after = forgetting.text_scores(lm, [texts[place] for place in places])
    kept = [before[place] for place in places]
    return dict(forgetting.rise(_array(kept), after, bench.seed)[0])


def _samples(base: Result) -> list[forgetting.Pair]:
    return [(_prompt(prompt), text) for prompt, text in base["samples"]]


def exam_of(bench: Bench) -> general.Exam:
    """What general questions are put to a base and to all that was tuned from it."""
    asked = bench.project.forgetting
    return general.exam(asked.questions, asked.instructions, bench.seed)


def possible(bench: Bench, model: str) -> bool:
    """Whether there is text to measure on, and the model reveals probabilities; of one that is
    given a head, whether there is still one that writes below it."""
    if why_not(bench, model):
        return False
    return bench.retention is not None and bool(answering.lengths(bench, model)["score"])


def why_not(bench: Bench, model: str) -> str:
    """What is said where a head leaves nothing that writes; "" elsewhere."""
    if bench.project.tuning.head is None or bench.facts[model].writes_below:
        return ""
    return "; what it forgot is not measured: below the head is no model that writes"


def subject(bench: Bench, tuned: Subject) -> Subject:
    """What is asked of what was tuned: of a model with a head that below it."""
    return replace(tuned, below=bench.project.tuning.head is not None)


def _pairs(bench: Bench) -> list[forgetting.Pair]:
    assert bench.retention is not None
    return forgetting.pairs_of(bench.retention.texts)


def _kept(bench: Bench, places: list[int]) -> list[forgetting.Pair]:
    """The texts that fit the model's context."""
    pairs = _pairs(bench)
    return [pairs[place] for place in places]


def _inputs(bench: Bench, subject: Subject) -> dict[str, Any]:
    texts = None if bench.retention is None else store.digest(list(bench.retention.texts))
    return {
        **bench.identity(subject),
        "texts": texts,
        "exam": exam_of(bench).description,
        "development": answering.part_digest(bench, "development"),
        "seed": bench.seed,
    }


def _plain(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


def _prompt(plain: Any) -> Any:
    return plain if isinstance(plain, str) else tuple(Message(**turn) for turn in plain)


def _array(rows: list[list[float]]) -> np.ndarray:
    return np.asarray(rows, dtype=float).reshape(len(rows), 2)
