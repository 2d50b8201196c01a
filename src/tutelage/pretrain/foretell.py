"""What a pretraining run will take, by the formulas of tuning all weights.

    foretell(checkpoint, rows, training, placement, threads, total).peak_bytes

Every step has as many rows of one length, so the first stands for all. Shapes follow from decoders
of plain blocks (`plan/activations.py`): of other architectures, and of other objectives than the
next token, nothing is foretold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.data.pack import Example
from tutelage.machine.device import Placement
from tutelage.models.catalogue import layout, shape
from tutelage.models.spec import is_linear
from tutelage.plan.memory import whole
from tutelage.train.predict import Prediction, predict_run

ADAM, MUON = 8, 4
"""Bytes of state a parameter: two float32 moments, or Muon's one."""


@dataclass(frozen=True)
class Parts:
    """In how many parts an update is computed, and whether activations are computed again."""

    micro_batches: int
    checkpointing: bool


def foretell(
    checkpoint: Checkpoint, rows: Sequence[Example], parts: Parts, optimizer: str,
    placement: Placement, threads: int, total: int,
) -> Prediction | None:  # fmt: skip
    """Of `total` steps like `rows`; None where the formulas do not hold."""
    weights, sizes = layout(checkpoint.config), shape(checkpoint.config)
    if not sizes.plain or any(row.memory or row.lead for row in rows):
        return None
    tuning = whole(weights)
    if optimizer == "muon":
        inside = sum(weight.count for weight in weights if is_linear(weight))
        state = ADAM * tuning.trained - (ADAM - MUON) * inside
        tuning = replace(tuning, optimizer_bytes=state / tuning.trained)
    shown = [list(rows)] * min(total, 2)
    found = predict_run(weights, tuning, parts, shown, placement, sizes.heads, threads)
    each = found.step_flops[0]
    times = total / len(shown)
    return replace(
        found, seconds=found.seconds * times, flops=found.flops * times,
        step_flops=(each,) * total,
    )  # fmt: skip
