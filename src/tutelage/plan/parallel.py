"""Ways to lay a model out over devices, those that fit ranked by the time of a training step.

    step = computing / (1 - bubble share) + tensor + pipeline + context + expert messages
           + what of the gradients' exchange the backward pass does not cover

    computing   FLOPs of one device / (peak x attained)
    bubble      (K - 1) / (v M + K - 1), K stages, M micro-batches, v chunks of layers a stage
    message     alpha + bytes / link;  all-reduce of b bytes by p: 2 (p - 1) (alpha + b / (p link))
    tensor      two all-reduces forward and two backward a layer and micro-batch, of B T C numbers;
                two more where activations are computed again

The alpha-beta model: Thakur et al. 2005, doi:10.1177/1094342005051521. Tensor parallelism: Shoeybi
et al. 2019, section 3; the bubble: Narayanan et al. 2021, arXiv:2104.04473, section 2.2; ZeRO's
volumes (twice the weights, three times with stage 3): Rajbhandari et al. 2020, section 7. Knows
nothing of networks' topology beyond 'the same node or not'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tutelage.errors import ConfigError
from tutelage.plan.devices import Device

ALPHA = 10e-6
"""Seconds until a message begins to flow."""
ACHIEVED_LINK = 0.8
"""Share of a link's published rate that large messages reach."""
BACKWARD = 2 / 3
"""Share of computing that is the backward pass, which the gradients' exchange runs beside."""
RESERVED = 0.92
"""Share of a device's memory that a plan may fill."""


@dataclass(frozen=True)
class Job:
    """What is trained: sizes of the model, and the batch of one step in sequences."""

    params: float
    layers: int
    width: int
    heads: int
    context: int
    batch: int
    experts: int = 1
    kv_share: float = 1.0
    """Width of keys, or of values, by the model's."""
    recompute: str = "none"


@dataclass(frozen=True)
class Layout:
    """Degrees; their product over data, tensor, pipeline and context is the number of devices.

    Experts are spread over `expert` of the data-parallel devices.
    """

    data: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    zero: int = 0
    micro_batches: int = 1
    chunks: int = 1

    @property
    def devices(self) -> int:
        return self.data * self.tensor * self.pipeline * self.context


@dataclass(frozen=True)
class Step:
    """A layout, what a device of it holds, and the parts of a step in seconds."""

    layout: Layout
    bytes_per_device: float
    bubble: float
    seconds: float
    parts: dict[str, float]


def bubble(stages: int, micro_batches: int, chunks: int = 1) -> float:
    """Share of a step in which a device waits: (K - 1) / (v M + K - 1)."""
    return (stages - 1) / (chunks * micro_batches + stages - 1)


def all_reduce(size: float, devices: int, link: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes."""
    if devices == 1:
        return 0.0
    return 2 * (devices - 1) * (ALPHA + size / devices / (link * ACHIEVED_LINK))


def step(job: Job, layout: Layout, device: Device, attained: float | None = None) -> Step:
    """Time and memory of one step. `attained` stands in for the device's own."""
    sequences = job.batch / (layout.data * layout.micro_batches)
    tokens = sequences * job.context / layout.context
    layers = job.layers / layout.pipeline
    low = 2 * tokens * job.width
    near, far = _links(layout, device)
    again = {"none": 4, "selective": 4, "full": 6}[job.recompute]
    share = bubble(layout.pipeline, layout.micro_batches, layout.chunks)
    computing = _computing(job, layout, device, attained)
    rounds = layout.micro_batches * layers
    parts = {
        "computing": computing,
        "bubble": computing * share / (1 - share),
        "tensor": rounds * again * all_reduce(low, layout.tensor, near),
        "pipeline": _sent(2 * layout.micro_batches * layout.chunks, low / layout.tensor, far)
        if layout.pipeline > 1 else 0.0,
        "context": _ring(job, layout, rounds, tokens, far),
        "expert": _sent(4 * rounds, low * (layout.expert - 1) / layout.expert, far)
        if layout.expert > 1 else 0.0,
        "gradients": max(0.0, _gradients(job, layout, far) - BACKWARD * computing),
    }  # fmt: skip
    # A stage that waits also waits for the messages within the stages before it.
    parts["bubble"] += (parts["tensor"] + parts["context"]) * share / (1 - share)
    return Step(layout, held(job, layout), share, sum(parts.values()), parts)


def held(job: Job, layout: Layout) -> float:
    """Bytes of one device: 16 a parameter, shared as ZeRO's stage says, and activations."""
    params = job.params / (layout.tensor * layout.pipeline * layout.expert)
    shares = [layout.data if layout.zero >= stage else 1 for stage in (3, 2, 1)]
    state = params * sum(b / share for b, share in zip((2, 2, 12), shares, strict=True))
    tokens = job.batch / (layout.data * layout.micro_batches) * job.context / layout.context
    scores = 5 * job.heads * job.context / job.width
    each = {"none": 34 + scores, "selective": 34.0, "full": 2.0}[job.recompute]
    alive = min(layout.micro_batches, layout.pipeline)
    kept = tokens * job.width * job.layers / layout.pipeline * each / layout.tensor * alive
    return state + kept


def layouts(job: Job, devices: int, device: Device) -> list[Step]:
    """All layouts of so many devices that fit one's memory, the quickest first.

    Raises ConfigError where none fits.
    """
    found = [step(job, one, device) for one in _possible(job, devices, device)]
    fitting = [one for one in found if one.bytes_per_device <= RESERVED * device.memory_bytes]
    if not fitting:
        least = min((one.bytes_per_device for one in found), default=0.0)
        raise ConfigError(
            f"no layout fits {devices} x {device.name}",
            field="--devices",
            got=f"{least / 1e9:.1f} GB on each at least",
            expected=f"{RESERVED * device.memory_bytes / 1e9:.1f} GB",
            hint="more devices, a shorter context, or --recompute full",
        )
    return sorted(fitting, key=lambda one: one.seconds)


def _possible(job: Job, devices: int, device: Device) -> Iterator[Layout]:
    """Whole degrees: heads over tensor, layers over stages, sequences over replicas."""
    for tensor in _divisors(devices, job.heads, device.node):
        for pipeline in _divisors(devices // tensor, job.layers, 64):
            for context in _divisors(devices // (tensor * pipeline), job.context // 1024 or 1, 64):
                data = devices // (tensor * pipeline * context)
                if job.batch % data == 0:
                    yield from _refined(job, Layout(data, tensor, pipeline, context))


def _refined(job: Job, layout: Layout) -> Iterator[Layout]:
    """With every ZeRO stage that shares something, numbers of micro-batches and of chunks."""
    each = job.batch // layout.data
    counts = {each, max(1, each // 2), max(1, each // 4)} if layout.pipeline > 1 else {each, 1}
    stages = (0, 1, 2, 3) if layout.data > 1 and layout.pipeline == 1 else (0, 1)
    expert = max(_divisors(layout.data, job.experts, job.experts), default=1)
    chunks = _divisors(job.layers // layout.pipeline, 8, 8) if layout.pipeline > 1 else [1]
    for count in sorted(counts):
        for zero in stages if layout.data > 1 else (0,):
            for chunk in {1, chunks[-1]} if each % count == 0 else ():
                yield replace(
                    layout, expert=expert, zero=zero, micro_batches=count, chunks=chunk
                )  # fmt: skip


def _divisors(number: int, of: int, most: int) -> list[int]:
    """Numbers up to `most` that divide both."""
    return [d for d in range(1, min(number, most) + 1) if number % d == 0 and of % d == 0]


def _links(layout: Layout, device: Device) -> tuple[float, float]:
    """Bytes a second between tensor-parallel devices, and between all others."""
    near = device.link if layout.tensor <= device.node else device.network
    far = device.link if layout.devices <= device.node else device.network
    return near, far


def _computing(job: Job, layout: Layout, device: Device, attained: float | None) -> float:
    """6 N, 8 N where the forward pass is run twice, and the scores of causal attention."""
    times = {"none": 3, "selective": 3, "full": 4}[job.recompute]
    per_token = times * (2 * job.params + 2 * job.layers * job.context * job.width)
    flops = per_token * job.batch * job.context / layout.devices
    return flops / (device.peak() * (attained or device.attained))


def _sent(times: float, size: float, link: float) -> float:
    return times * (ALPHA + size / (link * ACHIEVED_LINK))


def _ring(job: Job, layout: Layout, rounds: float, tokens: float, link: float) -> float:
    """Keys and values once round the ring forward, and with their gradients backward."""
    if layout.context == 1:
        return 0.0
    size = 2 * 2 * tokens * job.width * job.kv_share / layout.tensor
    return rounds * _sent(3 * (layout.context - 1), size, link)


def _gradients(job: Job, layout: Layout, link: float) -> float:
    """Exchange of gradients; with stage 3 half as much again, to gather weights."""
    size = 2 * job.params / (layout.tensor * layout.pipeline * layout.expert)
    more = 1.5 if layout.zero == 3 else 1.0
    return more * all_reduce(size, layout.data * layout.context, link)
