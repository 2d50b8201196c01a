"""Our side of every benchmark, through the package's own entry points with their defaults.

Each function runs in a fresh process (see `measure.py`); imports stand inside, so that the resident
set after them can be told from what the work takes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import Measurement, resident_after_imports

if TYPE_CHECKING:
    from tutelage.data.rows import Row
    from tutelage.evaluate.run import Item
    from tutelage.lm import Prompt

METRICS = ("rougeL", "rouge1", "rouge2", "bleu", "chrf", "exact_match")


def train(
    source: str, rows: Sequence[Row], out: Path, threads: int, settings: dict[str, Any]
) -> Measurement:
    """Trained tokens a second of `tune` over its second epoch: all rows once, in their own order.

    The first epoch is the warm-up.
    """
    import shutil

    from tutelage.machine import memory
    from tutelage.train.config import TuneConfig
    from tutelage.train.prepare import prepare
    from tutelage.train.tune import tune

    before = resident_after_imports()
    config = TuneConfig(epochs=2, save_seconds=86_400, **settings)
    run = prepare(source, rows, config, threads=threads)
    seen, border = 0, 0
    while seen < len(run.examples):
        seen, border = seen + len(run.steps[border]), border + 1
    result = tune(source, rows, config, out, threads=threads)
    peak = max(memory.highest(), result["peak_bytes"])  # tune() starts the high-water mark afresh
    shutil.rmtree(out)
    first = result["curve"][border - 1]["seconds"]
    seconds = result["seconds"] - first
    tokens = sum(row.trained for step in run.steps[border:] for row in step)
    return Measurement(
        tokens / seconds,
        peak - before,
        run.placement.dtype,
        {
            "seconds": seconds,
            "first_epoch_seconds": first,
            "updates": len(run.steps) - border,
            "trained_tokens": tokens,
            "loss": result["loss"],
            "predicted_peak_bytes": result["predicted_peak_bytes"],
        },
    )


def evaluate(source: str, items: Sequence[Item], max_new_tokens: int, threads: int) -> Measurement:
    """Rows a second of the whole evaluation: rendering, answering, scoring and its intervals."""
    from tutelage.backends.local import LocalLM
    from tutelage.evaluate.run import evaluate as ask
    from tutelage.machine.device import resolve
    from tutelage.machine.memory import Peak

    before = resident_after_imports()
    with Peak() as peak:
        lm = LocalLM.open(source, threads=threads)
        ask(lm, items[:4], METRICS, max_new_tokens=4)  # as on any rung but the first
        begun = time.perf_counter()
        found = ask(lm, items, METRICS, max_new_tokens=max_new_tokens)
        seconds = time.perf_counter() - begun
    return Measurement(
        len(items) / seconds,
        peak.bytes - before,
        resolve().dtype,
        {
            "seconds": seconds,
            "answering_seconds": found.seconds,
            "prompt_tokens": sum(answer.prompt_tokens for answer in found.answers),
            "answer_tokens": sum(answer.completion_tokens for answer in found.answers),
            "rougeL": found.measured["rougeL"]["value"],
            "texts": [answer.text for answer in found.answers],
        },
    )


def prefill(source: str, prompt: tuple[int, ...], repeats: int, threads: int) -> Measurement:
    """Prompt tokens a second until the first answer token is known: median of `repeats`."""
    return _single(source, prompt, 1, repeats, threads)


def decode(
    source: str, prompt: tuple[int, ...], tokens: int, repeats: int, threads: int
) -> Measurement:
    """Tokens a second of one stream, from the first answer token to `tokens` later."""
    return _single(source, prompt, tokens + 1, repeats, threads)


def _single(
    source: str, prompt: tuple[int, ...], length: int, repeats: int, threads: int
) -> Measurement:
    import statistics

    from tutelage.backends.local import LocalLM
    from tutelage.generate.job import Job
    from tutelage.machine.device import resolve
    from tutelage.machine.memory import Peak

    before = resident_after_imports()
    job = Job(prompt, length, frozenset())
    speeds: list[float] = []
    answer: list[int | None] = []
    with Peak() as peak:
        engine = (lm := LocalLM.open(source, threads=threads)).engine
        for _ in range(repeats + 1):
            stamps = [time.perf_counter()]
            answer = []
            for token in engine.run([job]):
                stamps.append(time.perf_counter())
                answer.append(token.token)
            units, since = (len(prompt), 0) if length == 1 else (length - 1, 1)
            speeds.append(units / (stamps[-1] - stamps[since]))
    held = (*lm.model.parameters(), *lm.model.buffers())
    stored = sum(one.numel() * one.element_size() for one in held)
    detail = {"speeds": speeds[1:], "answer": answer, "weight_bytes": stored}
    return Measurement(statistics.median(speeds[1:]), peak.bytes - before, resolve().dtype, detail)


def answers(
    source: str, prompts: Sequence[Prompt], tokens: int, lookup: bool, threads: int
) -> Measurement:
    """Tokens a second of answers one after the other in `--exact`, from each first token to the
    last: reading the prompts is no part of it."""
    from tutelage.backends.local import LocalLM
    from tutelage.decoding import Speculative
    from tutelage.generate.job import Job
    from tutelage.machine.memory import Peak

    before = resident_after_imports()
    seconds, count = 0.0, 0
    found: list[list[int | None]] = []
    with Peak() as peak:
        speculative = Speculative(None) if lookup else None
        lm = LocalLM.open(source, exact=True, threads=threads, speculative=speculative)
        ends = lm.checkpoint.tokenizer.eos_ids
        for prompt in (prompts[0], *prompts):  # the first once more, as a warm-up
            job = Job(tuple(lm.reading.read(lm.renderer.prompt_ids(prompt))), tokens, ends)
            stamps, said = [], []
            for token in lm.engine.run([job]):
                stamps.append(time.perf_counter())
                said.append(token.token)
            seconds += (stamps[-1] - stamps[0]) if found else 0.0
            count += len(said) - 1 if found else 0
            found.append(said)
    stored = sum(one.numel() * one.element_size() for one in lm.model.parameters())
    detail = {"answers": found[1:], "weight_bytes": stored, "seconds": seconds, "tokens": count}
    return Measurement(count / max(seconds, 1e-9), peak.bytes - before, "fp32", detail)


def streams(
    source: str, prompts: Sequence[tuple[int, ...]], tokens: int, threads: int
) -> Measurement:
    """Tokens a second of all streams together, from when each has its first token to the end."""
    from tutelage.backends.local import LocalLM
    from tutelage.generate.engine import Job
    from tutelage.machine.device import resolve
    from tutelage.machine.memory import Peak

    before = resident_after_imports()
    jobs = [Job(prompt, tokens + 1, frozenset()) for prompt in prompts]
    with Peak() as peak:
        engine = LocalLM.open(source, threads=threads).engine
        for _ in range(2):
            begun, count = 0.0, 0
            waiting = set(range(len(jobs)))
            for token in engine.run(jobs):
                waiting.discard(token.index)
                begun = begun or (0.0 if waiting else time.perf_counter())
                count += bool(begun)
            seconds = time.perf_counter() - begun
    return Measurement((count - 1) / seconds, peak.bytes - before, resolve().dtype)


def pretrain(shape: Any, batch: int, steps: int, threads: int) -> Measurement:
    """Tokens a second of the loop that `pretrain` runs, after one step that is not counted."""
    import functools

    import torch

    from tutelage.checkpoints.build import build
    from tutelage.checkpoints.preset import random_checkpoint
    from tutelage.data.pack import Example
    from tutelage.machine.device import resolve, use_threads
    from tutelage.machine.memory import Peak, freed_memory_kept
    from tutelage.models.catalogue import find_preset
    from tutelage.objectives import clm
    from tutelage.text.byte_level import byte_tokenizer
    from tutelage.train.loop import Plan, train
    from tutelage.train.optimizer import pretraining
    from tutelage.train.schedule import Schedule

    use_threads(threads)
    before = resident_after_imports()
    config = {**find_preset("gpt2"), **shape.config()}
    waited = 0.0

    class Rows:
        def __getitem__(self, step: int) -> list[Example]:
            nonlocal waited
            begun = time.perf_counter()
            ids = torch.randint(config["vocab_size"], (batch, shape.context + 1)).tolist()
            at = tuple(range(shape.context))
            rows = [Example(tuple(row[:-1]), at, tuple(row[1:])) for row in ids]
            waited += time.perf_counter() - begun
            return rows

    with Peak() as peak, freed_memory_kept():
        model = build(random_checkpoint("benchmark", config, byte_tokenizer(None), 0, {}), "fp32")
        model.compute = torch.bfloat16 if resolve().dtype == "bf16" else torch.float32
        model.requires_grad_(True).train()
        parameters = dict(model.named_parameters())
        plan = Plan(
            Schedule(steps + 1, 6e-4, 1), micro_batches=max(1, batch * shape.context // 2048)
        )
        optimizer = pretraining(parameters, 6e-4)
        marks = [time.perf_counter()]
        loss = functools.partial(clm.loss, z=0.0)
        last = 0.0
        for step in train(model, parameters, optimizer, Rows(), loss, plan):
            marks.append(time.perf_counter())
            last = step.loss
    seconds = marks[-1] - marks[1]
    detail = {"seconds": seconds, "loss": last, "waiting_share": waited / (marks[-1] - marks[0])}
    return Measurement(
        steps * batch * shape.context / seconds, peak.bytes - before, resolve().dtype, detail
    )
