"""What a tuning run will take: memory by component, and seconds.

Memory is `plan/`'s arithmetic. Time is floating-point work over the machine's measured speed:

    work = 2 (p (1 + reached) + w) x tokens

p counts the weights a token is multiplied with, of which gradients pass the share `reached`, and w
the method's own products: for trained weights one pass more. The head only at trained positions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tutelage.data.pack import Example, packed_tokens
from tutelage.machine.device import Placement, multiplied_in
from tutelage.machine.memory import release, resident
from tutelage.machine.speed import gemm_flops
from tutelage.models.headed import TASK
from tutelage.models.spec import Weight
from tutelage.plan.activations import Batch
from tutelage.plan.memory import Tuning, by_name, training_components

EFFICIENCY = 0.65
"""Share of the measured matrix-product speed that a whole step reaches: attention, norms and the
optimizer take the rest. From runs of SmolLM2 on two cores; each run's record holds predicted beside
measured seconds."""

PROBED = 3
"""The step by whose end two steps after the first say how fast a run is."""

COMPILER = "torch._dynamo"
FIRST_STEP = 100_000_000
"""Bytes that the first training step of a process loads for good: torch imports its compiler with
the first optimizer, 75 MB, and then much of its own code. Measured with preset:llama-tiny, torch
2.13 on Linux."""

PRODUCTS = 50_000_000
"""Bytes of what is kept for different products in half precision (`machine.memory`), and of the
holes that those replaced leave between them. Measured likewise: 30 MB after 4 steps, 70 after 150.
"""


@dataclass(frozen=True)
class Prediction:
    """Before anything is built; `probed` says the time better once two steps were taken."""

    seconds: float
    memory: dict[str, int]
    """Bytes by component; on the processor what the process holds before the run among them."""
    flops: float
    """Floating-point operations of all steps."""
    step_flops: tuple[float, ...] = ()
    """Of each step."""

    @property
    def peak_bytes(self) -> int:
        return sum(self.memory.values())

    def probed(self, marks: Mapping[int, float]) -> float | None:
        """Seconds of the whole run by its first steps; `marks` are the seconds at which they ended.

            t_1 + (t_3 - t_1) x FLOPs of steps 2 .. n / FLOPs of steps 2 and 3

        The first step, which sets things up, stays as it was. None for a run of three steps or
        less, and where the first three were not all seen, as of one that went on after a kill.
        """
        if len(self.step_flops) <= PROBED or not {1, PROBED} <= marks.keys():
            return None
        probes, rest = sum(self.step_flops[1:PROBED]), sum(self.step_flops[1:])
        return marks[1] + (marks[PROBED] - marks[1]) * rest / probes

    def counted(self, step: int, flops: int, taken: int) -> float | None:
        """Operations of the first `taken` steps, where those of step number `step`, from 1, were
        counted: the others are to it as they were predicted. None where none was counted."""
        if not 0 < step <= taken:
            return None
        return flops * sum(self.step_flops[:taken]) / self.step_flops[step - 1]


class Settings(Protocol):
    """What of a run's settings says what it takes."""

    @property
    def micro_batches(self) -> int: ...

    @property
    def checkpointing(self) -> bool: ...


def predict_run(
    weights: Sequence[Weight],
    tuning: Tuning,
    config: Settings,
    steps: Sequence[Sequence[Example]],
    placement: Placement,
    heads: int,
    threads: int,
) -> Prediction:
    """Prediction from the layout, what the method costs and the rows' lengths."""
    tokens = [packed_tokens(step) for step in steps]
    scored = not any(weight.role == TASK for weight in weights)  # a head has few scores
    labels = [sum(row.trained for row in step) * scored for step in steps]
    heaviest = max(tokens)
    micro = config.micro_batches
    longest = max(row.inputs for step in steps for row in step)
    batch = Batch(
        tokens=max(-(-heaviest // micro), longest),  # a row is never cut
        labels=-(-max(labels) // micro),
        row_tokens=longest,
        heads=max(heads, 1),  # an LSTM has none, and nothing to cut into them
        compute_bytes=4 if placement.dtype == "fp32" else 2,
        checkpointing=config.checkpointing,
        batches=micro,
        threads=threads,
        again=placement.device == "cpu" and len(steps) > 1,
    )
    parts = training_components(weights, tuning, batch, runtime_bytes=_runtime(placement))
    each = tuple(
        _work(weights, tuning, [t], [n], config) for t, n in zip(tokens, labels, strict=True)
    )
    seconds = sum(each) / (EFFICIENCY * speed(multiplied_in(placement), placement.device))
    return Prediction(seconds, by_name(parts), sum(each), each)


def _work(
    weights: Sequence[Weight],
    tuning: Tuning,
    tokens: Sequence[int],
    labels: Sequence[int],
    config: Settings,
) -> float:
    inside = [w for w in weights if len(w.shape) == 2 and w.role not in ("embed", "head")]
    body = sum(w.count for w in inside if not w.idle)
    head = next(w.count for w in weights if w.role == "embed")
    layers = len({w.layer for w in weights if w.layer is not None})
    reached = 1.0 if tuning.layers is None else tuning.layers / max(layers, 1)
    each = body * (1 + reached) + tuning.work
    work = 2 * (each * sum(tokens) + (2 + tuning.head) * head * sum(labels))
    if config.checkpointing:
        work += 2 * body * sum(tokens)
    return work


@functools.cache
def speed(dtype: str, device: str) -> float:
    """Floating-point operations a second of a large matrix product, measured once a process on the
    device that will do the work."""
    return gemm_flops(dtype, device)


def _runtime(placement: Placement) -> int:
    """What this process holds already, where the run shares its memory, with what its steps load
    and keep for good."""
    if placement.device != "cpu":
        return 0
    release()
    loaded = 0 if COMPILER in sys.modules else FIRST_STEP
    return resident() + loaded + (PRODUCTS if placement.dtype != "fp32" else 0)
