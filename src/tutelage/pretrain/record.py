"""What a pretraining run says of itself."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.corpus import funnel
from tutelage.corpus.tokens import TokenStore
from tutelage.models.catalogue import layout, shape
from tutelage.pretrain import compute
from tutelage.pretrain.rows import StepRows
from tutelage.train.resumable import Outcome, Work

KEPT = ("name", "rows_in", "rows_out", "changed", "reasons")
"""Of a funnel's step: what it did, without the examples."""


def of_store(one: TokenStore) -> dict[str, Any]:
    """What a token store holds, and what each step that led to it kept."""
    return {
        "documents": one.header.documents,
        "tokens": one.header.tokens,
        "text_bytes": one.header.text_bytes,
        "funnel": [
            {"verb": command["verb"], **{key: step[key] for key in KEPT}}
            for command in funnel.history(str(one.path))
            for step in command["steps"]
        ],
    }


def told(
    checkpoint: Checkpoint,
    work: Work,
    outcome: Outcome,
    marks: Sequence[float],
    peaks: Sequence[float],
    flops: int,
) -> dict[str, Any]:
    """The contract's object, and what a reader of the run wants beyond it.

    `marks` are the seconds at which steps ended, `peaks` the machine's speed before and after,
    `flops` those of one update.
    Tokens are those of the stream, whatever the objective makes of them.
    """
    at, sizes, weights = outcome.progress, shape(checkpoint.config), layout(checkpoint.config)
    rows = work.steps
    assert isinstance(rows, StepRows)
    tokens = rows.rows * rows.maker.window
    gaps = [b - a for a, b in itertools.pairwise(marks)]
    seconds = statistics.median(gaps) if gaps else None
    limit = statistics.mean(peaks)
    return {
        "status": "stopped" if outcome.stopped else "done",
        "objective": rows.maker.name,
        "parameters": sum(weight.count for weight in weights),
        "tokens": at.step * tokens,
        "bits_per_byte": {},
        "tokens_per_second": None if seconds is None else tokens / seconds,
        "mfu": None if seconds is None else flops / seconds / limit,
        "mfu_convention": compute.CONVENTION,
        "gemm_flops": limit,
        "flops": float(at.step * flops),
        "seconds": at.seconds,
        "processor_seconds": at.processor_seconds,
        "steps": at.step,
        "steps_total": work.plan.schedule.total,
        "loss_scale": at.scale,
        "skipped_steps": at.scale["skipped"] if at.scale else 0,
        "loss": {"first": at.curve[0][2], "last": at.curve[-1][2]} if at.curve else None,
        "waiting_share": rows.seconds / max(at.seconds, 1e-9),
        "epochs": rows.mixture.epochs(at.step * rows.rows),
        "curve": [{"step": s, "seconds": t, "loss": v} for s, t, v in at.curve],
        "model": {
            "architecture": checkpoint.config["architectures"][0],
            **{name: value for name, value in vars(sizes).items() if name != "sees"},
        },
    }
