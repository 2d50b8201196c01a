"""`tutelage plan`: what a model will need, as arithmetic on its shape; nothing is built or run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.cli.model import Described
    from tutelage.plan.activations import Batch
    from tutelage.plan.memory import Component, Tuning

Precision = Literal["fp32", "fp16", "bf16", "mixed", "int8", "int4"]
DEFAULT_CONTEXT = 2048
HALF = ("fp16", "bf16", "mixed")


def memory(
    *,
    params: float | None = None,
    model: str | None = None,
    precision: Precision | None = None,
    train: bool = False,
    method: Literal["full", "lora"] | None = None,
    rank: int | None = None,
    role: tuple[str, ...] = (),
    batch: int | None = None,
    context: int | None = None,
    checkpointing: bool = False,
    zero: int = 0,
    devices: int = 1,
    rule: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Memory by component, of answering or of training.

    With --model each component is computed from the model's shape; with --params, or --rule, from
    bytes per parameter.

    Parameters
    ----------
    params
        Number of parameters, as in 1e9.
    model
        A model source; only its configuration is read.
    precision
        What the weights are stored in (mixed: float32 masters, half-precision compute). By default
        bf16, mixed for training a --model, fp32 with --params.
    train
        Training, not answering.
    method
        What is trained: all weights (the default), or low-rank updates.
    rank
        Rank of the low-rank updates; 16 by default.
    role
        Linears that get low-rank updates, as attn.q; may be given several times. All by default.
    batch
        Sequences at once; 1 by default.
    context
        Tokens of each sequence; by default 2048, or the model's longest if that is less.
    checkpointing
        Keep only each block's input and compute the rest again.
    zero
        ZeRO stage, 0 to 3.
    devices
        Devices that share the work by data.
    rule
        A rule of thumb for training instead: course-24 or mixed-16.
    """
    _check_positive(batch=batch, context=context, rank=rank)
    count, described = _subject(params, model)
    tuned = {"method": method, "rank": rank, "role": role, "checkpointing": checkpointing}
    shape = {"batch": batch, "context": context}
    if rule is not None or described is None:
        _check_unused("without the shape of a --model", **tuned, **shape)
        _check_unused("beside a --rule", precision=precision if rule else None)
        name, parts = _by_rule(rule, count, train, precision)
    elif train:
        tuning = _tuning(method, rank, role)
        batched = _batch(described, precision or "mixed", shape, checkpointing)
        name, parts = "components", _training(described, tuning, batched)
    else:
        _check_unused("without --train", **tuned)
        name, parts = "components", _answering(described, precision or "bf16", shape)
    return _summed(name, parts, zero, devices)


def parameters(*, model: str, shared: Shared | None = None) -> dict[str, Any]:
    """Parameters by part, from the model's shape.

    Parameters
    ----------
    model
        A model source; only its configuration is read.
    """
    from tutelage.cli.model import describe
    from tutelage.plan.parameters import by_part, dimensions, total

    described = describe(model)
    layout = described.layout
    first = [weight for weight in layout if weight.layer == 0]
    sizes = dimensions(layout)
    return {
        "source": described.source,
        "total": total(layout),
        "parts": by_part(layout),
        "layers": sizes.layers,
        "per_layer": total(first),
        "tied_head": sizes.tied,
    }


def show_memory(result: dict[str, Any]) -> None:
    """Print the components as a table, the sum last."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"by {result['rule']}", box=None)
    table.add_column("component")
    table.add_column("GB", justify="right")
    for name, size in result["components"].items():
        table.add_row(name, f"{size / 1e9:.3f}")
    table.add_row("total", f"{result['total_bytes'] / 1e9:.3f}", style="bold")
    if result["per_device_bytes"] != result["total_bytes"]:
        table.add_row("each device", f"{result['per_device_bytes'] / 1e9:.3f}", style="bold")
    console = Console()
    console.print(table)
    console.print(result["formula"], style="dim", markup=False)


def show_parameters(result: dict[str, Any]) -> None:
    """Print the parts as a table with their share."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=result["source"], box=None)
    for column in ("part", "parameters", "share"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, count in result["parts"].items():
        table.add_row(name, f"{count:,}", f"{100 * count / result['total']:.2f}%")
    table.add_row("total", f"{result['total']:,}", "100.00%", style="bold")
    Console().print(table)


def _subject(params: float | None, model: str | None) -> tuple[int, Described | None]:
    """The number of parameters, and the model if one was named: exactly one of the two."""
    if (params is None) == (model is None):
        raise ConfigError(
            "say either how many parameters or which model",
            field="--params, --model",
            got="neither" if params is None else "both",
            expected="--params N or --model SOURCE",
        )
    if model is not None:
        from tutelage.cli.model import describe
        from tutelage.plan.parameters import total

        described = describe(model)
        return total(described.layout), described
    assert params is not None
    if not 1 <= params < 1e18:
        raise ConfigError(
            "--params is a number of parameters", field="--params", got=params, expected="1 .. 1e18"
        )
    return round(params), None


def _summed(name: str, parts: Sequence[Component], zero: int, devices: int) -> dict[str, Any]:
    from tutelage.plan.memory import by_name, per_device

    components = by_name(parts)
    return {
        "components": components,
        "total_bytes": sum(components.values()),
        "per_device_bytes": per_device(components, zero, devices),
        "rule": name,
        "formula": " + ".join(f"{part.name}: {part.formula}" for part in parts),
    }


def _by_rule(
    asked: str | None, count: int, train: bool, precision: str | None
) -> tuple[str, list[Component]]:
    """The name of the rule and its parts; the weights alone where nothing is trained."""
    from tutelage.plan.memory import rule, stored

    name = asked or _default_rule(train, precision)
    if name is None:
        return "stored", stored(count, precision or "fp32")
    return name, rule(name, count)


def _default_rule(train: bool, precision: str | None) -> str | None:
    """Without a model's shape training is estimated by the rule of its precision."""
    if not train:
        return None
    if precision in (None, "fp32"):
        return "course-24"
    if precision in HALF:
        return "mixed-16"
    raise _cannot_train(precision)


def _tuning(method: str | None, rank: int | None, roles: Sequence[str]) -> Tuning:
    from tutelage.errors import UnknownName
    from tutelage.plan.memory import Tuning
    from tutelage.plan.parameters import LINEAR_ROLES

    if method != "lora":
        _check_unused("with --method full", rank=rank, role=roles)
    for role in roles:
        if role not in LINEAR_ROLES:
            raise UnknownName("role", role, LINEAR_ROLES, field="--role")
    return Tuning(method or "full", rank or Tuning.rank, tuple(roles) or LINEAR_ROLES)


def _batch(
    described: Described, precision: str, shape: dict[str, int | None], checkpointing: bool
) -> Batch:
    from tutelage.plan.activations import Batch

    if precision not in ("fp32", *HALF):
        raise _cannot_train(precision)
    context = _context(described, shape["context"])
    return Batch(
        tokens=(shape["batch"] or 1) * context,
        labels=(shape["batch"] or 1) * context,
        row_tokens=context,
        heads=described.shape.heads,
        compute_bytes=4 if precision == "fp32" else 2,
        checkpointing=checkpointing,
    )


def _training(described: Described, tuning: Tuning, batch: Batch) -> list[Component]:
    from tutelage.plan.memory import training_components

    return training_components(described.layout, tuning, batch)


def _answering(
    described: Described, precision: str, shape: dict[str, int | None]
) -> list[Component]:
    from tutelage.plan.answering import Held, answering_components

    held = Held(shape["batch"] or 1, _context(described, shape["context"]))
    return answering_components(described.layout, precision, held)


def _context(described: Described, asked: int | None) -> int:
    """Tokens of a sequence, at most what the model was made for."""
    longest = described.shape.context
    if asked is None:
        return min(DEFAULT_CONTEXT, longest or DEFAULT_CONTEXT)
    if longest is not None and asked > longest:
        raise ConfigError(
            "longer than the model's context",
            field="--context",
            got=asked,
            expected=f"at most {longest}",
        )
    return asked


def _check_unused(where: str, **values: object) -> None:
    """Nothing a user says is ignored: an option that cannot matter here is refused."""
    for name, value in values.items():
        if value not in (None, (), False):
            raise ConfigError(
                f"--{name} has no effect {where}",
                field=f"--{name}",
                got=value,
                hint="leave it out, or name a --model and --train",
            )


def _check_positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < 1:
            raise ConfigError(
                f"--{name} must be at least 1", field=f"--{name}", got=value, expected=">= 1"
            )


def _cannot_train(precision: str | None) -> ConfigError:
    return ConfigError(
        "weights in this precision are not trained",
        field="--precision",
        got=precision,
        expected="fp32, fp16, bf16 or mixed",
    )
