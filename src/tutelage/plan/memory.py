"""Memory of training by component, before anything is built. Bytes; GB = 1e9.

    training_components(entries, Tuning("lora", rank=8, roles=(...)), Batch(...))
    rule("course-24", parameters)                   # rules of thumb
    by_name(parts)                                  # {component: bytes}

Pure functions of shapes and settings. `calibration` multiplies the activations alone: what the
C library's allocator holds beyond what autograd saves. All else follows from shapes. Answering is
in `answering.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tutelage.errors import ConfigError, UnknownName
from tutelage.plan.activations import Batch, attention_workspace, saved_bytes
from tutelage.plan.parameters import (
    Dimensions,
    Entry,
    dimensions,
    linear_roles,
    lora_parameters,
)

BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "mixed": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of one stored weight; int8 and int4 without their scales."""

RULES = {
    "course-24": {"weights": 4, "gradients": 4, "optimizer": 8, "activations": 8},
    "mixed-16": {"weights": 2, "gradients": 2, "optimizer": 12},
}
"""Bytes per parameter. course-24: float32 with Adam, activations as a flat 8 bytes. mixed-16: half
precision weights and gradients, float32 master and Adam's two moments (Rajbhandari et al. 2020,
arXiv:1910.02054, section 3.1); activations are not in it."""

RETAINED = 1.05
"""Resident bytes per saved byte: temporary arrays freed between saved ones leave holes."""

ZERO = {"optimizer": 1, "gradients": 2, "weights": 3}
"""From which ZeRO stage on a component is divided among devices (ibid., section 5)."""


@dataclass(frozen=True)
class Tuning:
    """What is trained: all weights (`full`), or low-rank updates of the linears of `roles`."""

    method: str = "full"
    rank: int = 16
    """As `tune` has it by default."""
    roles: tuple[str, ...] | None = None
    """None is all of the model's."""
    optimizer_bytes: int = 8
    """Per trained parameter: Adam keeps two float32 moments."""


@dataclass(frozen=True)
class Component:
    """One part of the memory and how it was computed."""

    name: str
    bytes: int
    formula: str


def training_components(
    entries: Sequence[Entry],
    tuning: Tuning,
    batch: Batch,
    *,
    runtime_bytes: int = 0,
    calibration: float | None = None,
) -> list[Component]:
    """The parts of a training step at its peak; `calibration` None takes `RETAINED`.

    Raises UnknownName for a method without a memory model.
    """
    if tuning.method not in ("full", "lora"):
        raise UnknownName("method", tuning.method, ("full", "lora"), field="--method")
    sizes, full = dimensions(entries), tuning.method == "full"
    roles = linear_roles(entries) if full or tuning.roles is None else tuning.roles
    trained = sizes.parameters if full else lora_parameters(entries, tuning.rank, roles)
    low, factor = batch.compute_bytes, tuning.optimizer_bytes
    parts = [
        *_weights(sizes.parameters, trained, full, low),
        *_backward(sizes, replace(tuning, roles=roles), batch, trained, calibration or RETAINED),
        Component("optimizer", factor * trained, f"{factor} x {trained} trained"),
        Component(
            "workspace",
            attention_workspace(sizes, batch),
            f"attention of one layer: {batch.tokens} tokens x {batch.heads} heads "
            f"x {min(batch.row_tokens, batch.tokens)} keys",
        ),
        _logits(sizes.vocabulary, min(batch.labels, batch.chunk)),
    ]
    if runtime_bytes:
        parts.append(Component("runtime", runtime_bytes, "resident before the work"))
    return parts


def by_name(parts: Iterable[Component]) -> dict[str, int]:
    """Bytes by component; their sum is the predicted peak."""
    return {part.name: part.bytes for part in parts}


def rule(name: str, parameters: int) -> list[Component]:
    """A rule of thumb for training: so many bytes per parameter. Raises UnknownName."""
    if name not in RULES:
        raise UnknownName("rule", name, RULES, field="--rule")
    return [
        Component(part, count * parameters, f"{count} x {parameters}")
        for part, count in RULES[name].items()
    ]


def stored(parameters: int, precision: str) -> list[Component]:
    """The weights alone."""
    if precision not in BYTES:
        raise UnknownName("precision", precision, BYTES, field="--precision")
    size = round(BYTES[precision] * parameters)
    return [Component("weights", size, f"{BYTES[precision]:g} x {parameters}")]


def per_device(components: Mapping[str, int], zero: int, devices: int) -> int:
    """Bytes of one of `devices` that share the work by data, under a ZeRO stage (0 shares none).

    Rounded copies and adapters count as weights. Rounded up.
    """
    if not 0 <= zero <= 3:
        raise ConfigError("no such ZeRO stage", field="--zero", got=zero, expected="0, 1, 2 or 3")
    if devices < 1:
        raise ConfigError(
            "at least one device is needed", field="--devices", got=devices, expected=">= 1"
        )
    stages = {**ZERO, "copies": ZERO["weights"], "adapter": ZERO["weights"]}
    return sum(
        -(-size // devices) if stages.get(name, 4) <= zero else size
        for name, size in components.items()
    )


def _weights(parameters: int, trained: int, full: bool, low: int) -> list[Component]:
    """Full tuning: float32 masters. LoRA: frozen weights in compute precision, float32 adapters."""
    if full:
        return [Component("weights", 4 * parameters, f"4 x {parameters}")]
    return [
        Component("weights", low * parameters, f"{low} x {parameters} frozen"),
        Component("adapter", 4 * trained, f"4 x {trained} trained"),
    ]


def _backward(
    sizes: Dimensions, tuning: Tuning, batch: Batch, trained: int, calibration: float
) -> list[Component]:
    """What grows and shrinks during a step, at the moment when it is most.

    With full tuning the backward pass turns activations, and the copies that uses of the masters
    were rounded to, into gradients: only one side is whole at a time, unless an earlier batch of
    the update has left its gradients. The head's gradient comes first and is held twice.
    """
    full = tuning.method == "full"
    saved = saved_bytes(sizes, batch, tuning.roles or (), 0 if full else tuning.rank)
    kept = round(saved * calibration)
    how = f"saved tensors of {sizes.layers} layers x {batch.tokens} tokens x {calibration:g}"
    activations = Component("activations", kept, how)
    if not full:
        return [Component("gradients", 4 * trained, f"4 x {trained} trained"), activations]
    low, head = batch.compute_bytes, sizes.vocabulary * sizes.width
    rounded = low * trained if low < 4 else 0
    copies = [Component("copies", rounded, f"{low} x {trained}")] if rounded else []
    whole = Component("gradients", 4 * (trained + head), f"4 x {trained} and 4 x {head} of head")
    if batch.batches > 1:
        return [*copies, whole, activations]
    if kept + rounded + 8 * head >= whole.bytes:
        return [*copies, Component("gradients", 8 * head, f"8 x {head} of head"), activations]
    return [whole]


def _logits(vocabulary: int, labels: int) -> Component:
    """Float32 scores of one chunk of labels, and as much again while they are normalized."""
    size = 8 * labels * vocabulary
    return Component("logits", size, f"8 x {labels} labels x {vocabulary} tokens known")
