"""`tutelage plan parallel`: layouts over devices that fit, ranked by the time of a step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.columns import print_table
from tutelage.cli.plan_memory import Plain, check_positive, check_unused
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.plan.parallel import Job, Layout, Step

MOST = 20


@Parameter(name="*")
@dataclass(frozen=True)
class Degrees:
    """One layout to look at, in place of all; what is not given is 1, and data what is left."""

    tensor: int | None = None
    """Devices that share each layer's matrices."""
    pipeline: int | None = None
    """Stages of layers."""
    context_degree: Annotated[int | None, Parameter(name="--context-degree")] = None
    """Devices that share the tokens of a row."""
    zero: int | None = None
    """ZeRO stage, 0 to 3."""
    micro_batches: int | None = None
    """Parts a replica's sequences are read in; one each by default."""
    chunks: int | None = None
    """Chunks of layers of a stage (interleaved schedule)."""


def parallel(
    *,
    devices: int,
    device: str,
    params: float | None = None,
    model: str | None = None,
    batch: int | None = None,
    context: int | None = None,
    recompute: Literal["none", "selective", "full"] = "selective",
    attained: float | None = None,
    degrees: Degrees | None = None,
    shared: Plain | None = None,
) -> dict[str, Any]:
    """Layouts of training that fit the devices' memory, the quickest first.

    Parameters
    ----------
    devices
        How many there are.
    device
        Which, as a100: peaks, memory and links are the table's.
    params
        Parameters of a GPT-like model, whose shape is then guessed.
    model
        A model source; only its configuration is read.
    batch
        Sequences of one step; four million tokens' worth by default.
    context
        Tokens of a sequence; 2048 by default, or the model's longest if that is less.
    recompute
        What of the activations is computed again.
    attained
        Share of the peak whole layers reach on one device, in place of the table's.
    """
    from tutelage.plan import parallel as plan
    from tutelage.plan.devices import device as found

    degrees = degrees or Degrees()
    counts = {name: value for name, value in vars(degrees).items() if name != "zero"}
    check_positive(devices=devices, batch=batch, context=context, **counts)
    if attained is not None and not 0 < attained <= 1:
        raise ConfigError(
            "a share of the peak", field="--attained", got=attained, expected="above 0, at most 1"
        )
    one = found(device)
    job, assumed = _job(params, model, batch, context, recompute, devices)
    if any(value is not None for value in vars(degrees).values()):
        steps = [plan.step(job, _layout(degrees, devices, job), one, attained)]
    else:
        check_unused("beside all layouts", "name degrees with it", attained=attained)
        steps = plan.layouts(job, devices, one)
    return {
        "layouts": [_said(step, job, device=one.peak()) for step in steps[:MOST]],
        "fitting": len(steps),
        "job": asdict(job) | {"assumed": assumed},
        "device": one.name,
        "formula": "computing / (1 - bubble) + messages of alpha + bytes / link (docs/planning.md)",
        "sources": [one.source, one.attained_source],
    }


def _said(step: Step, job: Job, device: float) -> dict[str, Any]:
    layout = asdict(step.layout)
    flops = 6 * job.params * job.batch * job.context
    layout.pop("chunks")
    return {
        **layout, "chunks": step.layout.chunks, "bytes_per_device": round(step.bytes_per_device),
        "step_seconds": step.seconds, "bubble": step.bubble, "parts": step.parts,
        "flops_per_second": flops / step.seconds,
        "mfu": flops / step.seconds / (device * step.layout.devices),
    }  # fmt: skip


def _job(
    params: float | None, model: str | None, batch: int | None, context: int | None,
    recompute: str, devices: int,
) -> tuple[Job, str | None]:  # fmt: skip
    """What is trained, and what of it was guessed."""
    from tutelage.cli.plan_memory import context_of, subject
    from tutelage.plan.parallel import Job

    count, described = subject(params, model)
    if described is None:
        layers, width, heads = guessed_shape(count)
        row, share = context or 2048, 1.0
        assumed = f"{layers} layers of width {width}, as 12 L C^2 with C = 128 L gives"
    else:
        shape, assumed = described.shape, None
        layers, width, heads = shape.layers + shape.encoder_layers, shape.width, shape.heads
        row = context_of(described, context)
        share = shape.kv_heads * shape.head_width / shape.width
    rows = batch or max(1, 4_000_000 // row // devices) * devices
    experts = described.config.get("num_local_experts", 1) if described else 1
    return Job(count, layers, width, heads, row, rows, experts, share, recompute), assumed


def guessed_shape(count: int) -> tuple[int, int, int]:
    """Layers, width and heads of a GPT-like model of so many parameters: N = 12 L C^2, C = 128 L.

    Layers are rounded to a multiple of 4, so that stages can share them.
    """
    layers = max(1, round((count / 12 / 128**2) ** (1 / 3)))
    layers = layers if layers < 8 else 4 * round(layers / 4)
    heads = max(1, round((count / 12 / layers) ** 0.5 / 128))
    heads = heads if heads < 16 else 8 * round(heads / 8)
    return layers, 128 * heads, heads


def _layout(degrees: Degrees, devices: int, job: Job) -> Layout:
    """The one that was named. Raises ConfigError where degrees do not divide what they share."""
    from tutelage.plan.parallel import Layout

    tensor, pipeline = degrees.tensor or 1, degrees.pipeline or 1
    context = degrees.context_degree or 1
    split = tensor * pipeline * context
    data = devices // split if split else 0
    for flag, value, of in (
        ("--tensor", tensor, job.heads),
        ("--pipeline", pipeline, job.layers),
        ("--context-degree", context, job.context),
        ("--tensor, --pipeline, --context-degree", split, devices),
        ("--batch", data, job.batch),
    ):
        if value < 1 or of % value:
            raise ConfigError(
                "does not divide", field=flag, got=value, expected=f"a divisor of {of}"
            )
    zero = degrees.zero or 0
    if not 0 <= zero <= 3:
        raise ConfigError("no such ZeRO stage", field="--zero", got=zero, expected="0, 1, 2 or 3")
    parts = degrees.micro_batches or job.batch // data
    if parts < 1 or (job.batch // data) % parts:
        raise ConfigError(
            "does not divide", field="--micro-batches", got=parts,
            expected=f"a divisor of {job.batch // data}",
        )  # fmt: skip
    return Layout(data, tensor, pipeline, context, 1, zero, parts, degrees.chunks or 1)


def show_parallel(result: dict[str, Any]) -> None:
    """Print the quickest layouts as a table."""
    names = ("data", "zero", "tensor", "pipeline", "expert", "context", "micro_batches", "chunks")
    rows = [
        (
            *(str(row[name]) for name in names), f"{row['bytes_per_device'] / 1e9:.1f}",
            f"{row['bubble']:.3f}", f"{row['step_seconds']:.3g}", f"{row['mfu']:.3f}",
        )
        for row in result["layouts"]
    ]  # fmt: skip
    print(f"{result['fitting']} layouts fit {result['device']}")
    headings = [name.replace("micro_batches", "micro") for name in names]
    print_table((*headings, "GB each", "bubble", "step, s", "MFU"), rows)
    if result["job"]["assumed"]:
        print(f"assumed: {result['job']['assumed']}")
    print(result["formula"])
