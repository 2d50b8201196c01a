"""Memory of training by component, before anything is built. Bytes; GB = 1e9.

    training_components(entries, whole(entries), Batch(...))   # or METHOD.cost(...)
    rule("course-24", parameters)                   # rules of thumb
    by_name(parts)                                  # {component: bytes}

Pure functions of shapes and settings. `calibration` multiplies the activations alone: what the
C library's allocator holds beyond what autograd saves. All else follows from shapes. Answering is
in `answering.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.errors import ConfigError, UnknownName
from tutelage.plan.activations import Batch, attention_workspace, saved_bytes
from tutelage.plan.parameters import Dimensions, Entry, dimensions, linear_roles, size

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
    """A way of tuning as memory and time see it (`peft/` says it of each method).

    `trained` float32 numbers stand beside the model's frozen weights, or with `own` are some of its
    weights, of which what they were before is held too; `whole` are all of them, in its place.
    """

    trained: int
    roles: tuple[str, ...] = ()
    """Linears whose inputs are kept for the gradient of their weights or of what is beside them."""
    beside: tuple[tuple[str, int], ...] = ()
    """Further numbers a token that are kept at the linear of a role."""
    own: bool = False
    whole: bool = False
    layers: int | None = None
    """How many layers, from the last, gradients pass; None is all."""
    adapted: int | None = None
    """In how many of these something is trained; None is all."""
    head: bool = False
    """Whether the matrix of the scores is trained."""
    frozen: int = 0
    """Numbers held beside the model and not trained, in the type computed in."""
    narrow: tuple[int, int] = (0, 0)
    """How many of the model's numbers are held in few bits, and their bytes."""
    work: int = 0
    """Multiplications a token beyond those of a frozen model's forward and backward pass."""
    optimizer_bytes: float = 8
    """Per trained parameter: Adam keeps two float32 moments."""


def whole(entries: Sequence[Entry]) -> Tuning:
    """All weights are trained."""
    matrices = [e for e in entries if len(e.shape) == 2 and e.role not in ("embed", "head")]
    inside = sum(size(e) for e in matrices if not e.idle)
    return Tuning(
        trained=dimensions(entries).parameters,
        roles=linear_roles(entries),
        own=True,
        whole=True,
        head=True,
        work=inside,
    )


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
    """The parts of a training step at its peak; `calibration` None takes `RETAINED`."""
    sizes, trained, factor = dimensions(entries), tuning.trained, tuning.optimizer_bytes
    parts = [
        *_weights(sizes.parameters, tuning, batch.compute_bytes),
        *_backward(sizes, tuning, batch, calibration or RETAINED),
        Component("optimizer", round(factor * trained), f"{factor:g} x {trained} trained"),
        Component(
            "workspace",
            attention_workspace(sizes, batch),
            f"attention of one layer: {batch.tokens} tokens x {batch.heads} heads "
            f"x {min(batch.row_tokens, batch.tokens)} keys",
        ),
        _logits(
            sizes.vocabulary,
            min(batch.labels, batch.chunk if tuning.head else batch.frozen_chunk),
        ),
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


def _weights(parameters: int, tuning: Tuning, low: int) -> list[Component]:
    """All weights trained: float32 masters. Else frozen weights in compute precision, and what is
    trained in float32."""
    if tuning.whole:
        return [Component("weights", 4 * parameters, f"4 x {parameters}")]
    beside = f" and {low} x {tuning.frozen} frozen" if tuning.frozen else ""
    adapter = 4 * tuning.trained + low * tuning.frozen
    count, narrow = tuning.narrow
    few = f" and {narrow} of {count} quantized" if count else ""
    wide = parameters - count
    return [
        Component("weights", low * wide + narrow, f"{low} x {wide} frozen{few}"),
        Component("adapter", adapter, f"4 x {tuning.trained} trained{beside}"),
    ]


def _backward(
    sizes: Dimensions, tuning: Tuning, batch: Batch, calibration: float
) -> list[Component]:
    """What grows and shrinks during a step, at the moment when it is most.

    Where weights themselves are trained the backward pass turns activations, and the copies that
    uses of the masters were rounded to, into gradients: only one side is whole at a time, unless an
    earlier batch of the update has left its gradients, or an earlier update the memory they had:
    arrays of other sizes fit into it badly. The head's gradient comes first and is held twice.
    """
    saved = saved_bytes(sizes, batch, tuning.roles, tuning.beside, tuning.layers, tuning.adapted)
    kept, trained = round(saved * calibration), tuning.trained
    how = f"saved tensors of {sizes.layers} layers x {batch.tokens} tokens x {calibration:g}"
    activations = Component("activations", kept, how)
    if not tuning.own:
        gradients = [Component("gradients", 4 * trained, f"4 x {trained} trained"), activations]
        table = sizes.vocabulary * sizes.width * tuning.head  # its gradient, and it with new rows
        more = f"{4 + batch.compute_bytes} x {table}"
        beside = Component("head", (4 + batch.compute_bytes) * table, more)
        return [*gradients, beside] if table else gradients
    low, head = batch.compute_bytes, sizes.vocabulary * sizes.width * tuning.head
    rounded = low * trained if low < 4 else 0
    copies = [Component("copies", rounded, f"{low} x {trained}")] if rounded else []
    of_head = f" and 4 x {head} of head" if head else ""
    whole = Component("gradients", 4 * (trained + head), f"4 x {trained}{of_head}")
    if batch.batches > 1 or batch.again:
        return [*copies, whole, activations]
    if kept + rounded + 8 * head >= whole.bytes:
        first = [Component("gradients", 8 * head, f"8 x {head} of head")] if head else []
        return [*copies, *first, activations]
    return [whole]


def _logits(vocabulary: int, labels: int) -> Component:
    """Float32 scores of one chunk of labels, and as much again while they are normalized."""
    size = 8 * labels * vocabulary
    return Component("logits", size, f"8 x {labels} labels x {vocabulary} tokens known")
