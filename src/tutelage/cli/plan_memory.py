"""What `tutelage plan memory` is asked, and which arithmetic answers it.

An option either changes the answer or is refused by name: none is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.shared import COMMON, Shared
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.checkpoints.shaped import Shaped
    from tutelage.plan.activations import Batch
    from tutelage.plan.memory import Component, Tuning

Precision = Literal["fp32", "fp16", "bf16", "mixed", "int8", "int4"]
DEFAULT_CONTEXT = 2048
HALF = ("fp16", "bf16", "mixed")
LEAVE_OUT = "leave it out"


@Parameter(name="*")
@dataclass(frozen=True)
class Trained:
    """What is trained."""

    method: str | None = None
    """The way of tuning, as `tune` knows it; full, all weights, by default."""
    rank: int | None = None
    """Its rank, where it has one."""
    role: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = ()
    """Linears it works at, as attn.q; may be given several times."""
    checkpointing: bool = False
    """Keep only each block's input and compute the rest again."""


@Parameter(name="*")
@dataclass(frozen=True)
class Sequences:
    """What is computed at once."""

    batch: int | None = None
    """Sequences at once; 1 by default."""
    context: int | None = None
    """Tokens of each sequence; by default 2048, or the model's longest if that is less."""
    kv_cache_dtype: Literal["auto", "int8"] | None = None
    """What keys and values are kept in while answering, as for `serve`; auto by default."""


@Parameter(name="*")
@dataclass(frozen=True)
class Sharing:
    """Devices that share the work by data."""

    zero: int | None = None
    """ZeRO stage, 0 to 3: what the --devices divide among themselves."""
    devices: int | None = None
    """Devices that share the work by data; with --zero."""


@dataclass(frozen=True)
class Asked:
    """One request, every option of it."""

    params: float | None
    model: str | None
    precision: Precision | None
    train: bool
    rule: str | None
    trained: Trained
    sequences: Sequences
    sharing: Sharing
    shared: Shared


def planned(asked: Asked) -> dict[str, Any]:
    """The contract's object. Raises ConfigError naming an option that is wrong or without effect,
    UnknownName, SourceError."""
    from tutelage.plan.memory import by_name

    check_unplaced(asked.shared)
    sizes = (asked.sequences.batch, asked.sequences.context, asked.trained.rank)
    check_positive(**dict(zip(("batch", "context", "rank"), sizes, strict=True)))
    name, parts = _parts(asked)
    components = by_name(parts)
    return {
        "components": components,
        "total_bytes": sum(components.values()),
        "per_device_bytes": _each(components, asked.sharing),
        "rule": name,
        "formula": " + ".join(f"{part.name}: {part.formula}" for part in parts),
        **_corrected(asked, name, components),
    }


def _corrected(asked: Asked, name: str, components: Mapping[str, int]) -> dict[str, Any]:
    """What training runs on this machine make of it, null where there are too few of them."""
    none = {"corrected_bytes": None, "correction": None}
    if not asked.train or name != "components":
        return none
    from tutelage.train.history import correction

    found = correction()
    if found is None:
        return none
    return {
        "corrected_bytes": sum(found.bytes(components).values()),
        "correction": found.as_json(),
    }


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Plain:
    """The options of a plan that names a --device of its own."""

    json: bool = False
    """Print exactly one JSON object on stdout; all else goes to stderr."""
    quiet: bool = False
    """Show no progress."""


def check_unplaced(shared: Shared) -> None:
    """Raises ConfigError for a choice of where or how to compute: a plan computes nothing."""
    check_unused(
        "on a plan, which computes nothing here",
        "leave it out; of `plan memory`, --precision says what weights are stored in",
        device=shared.device,
        dtype=shared.dtype,
        exact=shared.exact,
    )


def check_unused(where: str, hint: str, **values: object) -> None:
    """Nothing a user says is ignored: an option that cannot matter here is refused."""
    for name, value in values.items():
        if value not in (None, (), False, "auto"):
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} has no effect {where}", field=flag, got=value, hint=hint)


def _parts(asked: Asked) -> tuple[str, list[Component]]:
    """How it is computed, and what comes out."""
    count, described = subject(asked.params, asked.model)
    if asked.rule is not None or described is None:
        return _by_rule(asked, count)
    if asked.train:
        return "components", _training(asked, described)
    check_unused("without --train", "add --train, or leave it out", **vars(asked.trained))
    return "components", _answering(asked, described)


def subject(params: float | None, model: str | None) -> tuple[int, Shaped | None]:
    """The number of parameters, and the model if one was named: exactly one of the two."""
    if (params is None) == (model is None):
        raise ConfigError(
            "say either how many parameters or which model",
            field="--params, --model",
            got="neither" if params is None else "both",
            expected="--params N or --model SOURCE",
        )
    if model is not None:
        from tutelage.checkpoints.shaped import shaped
        from tutelage.plan.parameters import total

        described = shaped(model)
        return total(described.layout), described
    assert params is not None
    if not 1 <= params < 1e18:
        raise ConfigError(
            "--params is a number of parameters", field="--params", got=params, expected="1 .. 1e18"
        )
    return round(params), None


def _by_rule(asked: Asked, count: int) -> tuple[str, list[Component]]:
    """The name of the rule and its parts; the weights alone where nothing is trained."""
    from tutelage.plan.memory import rule, stored

    shape = {**vars(asked.trained), **vars(asked.sequences)}
    if asked.rule is not None:
        check_unused("beside a --rule", LEAVE_OUT, precision=asked.precision, **shape)
    check_unused("without the shape of a --model", "name a --model, or leave it out", **shape)
    name = asked.rule or _default_rule(asked.train, asked.precision)
    if name is None:
        return "stored", stored(count, asked.precision or "fp32")
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


def _training(asked: Asked, described: Shaped) -> list[Component]:
    from tutelage.plan.memory import training_components

    kept = asked.sequences.kv_cache_dtype
    check_unused("with --train", "leave it out: training keeps none", kv_cache_dtype=kept)
    if not described.shape.plain:
        raise _not_counted(described, "training", "estimate it by a rule: --rule mixed-16")
    tuning = _tuning(asked.trained, described)
    return training_components(described.layout, tuning, _batch(asked, described))


def _tuning(trained: Trained, described: Shaped) -> Tuning:
    """What the method costs with these settings; all weights need no tensors to be counted."""
    given = {"rank": trained.rank, "roles": trained.role}
    given = {name: value for name, value in given.items() if value}
    if trained.method is None and not given:
        from tutelage.plan.memory import whole

        return whole(described.layout)
    from tutelage.peft import METHODS
    from tutelage.peft._method import settings_of

    method = METHODS.get(trained.method or "full", field="--method")
    settings = method.resolve(settings_of(method, given), described.layout, described.shape)
    found: Tuning = method.cost(described.layout, settings)
    return found


def _batch(asked: Asked, described: Shaped) -> Batch:
    from tutelage.plan.activations import Batch

    precision = asked.precision or "mixed"
    if precision not in ("fp32", *HALF):
        raise _cannot_train(precision)
    context = context_of(described, asked.sequences.context)
    tokens = (asked.sequences.batch or 1) * context
    return Batch(
        tokens=tokens,
        labels=tokens,
        row_tokens=context,
        heads=described.shape.heads,
        compute_bytes=4 if precision == "fp32" else 2,
        checkpointing=asked.trained.checkpointing,
        threads=asked.shared.threads or Batch.threads,
    )


def _answering(asked: Asked, described: Shaped) -> list[Component]:
    from tutelage.plan.answering import Held, answering_components, reading_components

    precision = asked.precision or "bf16"
    rows, tokens = asked.sequences.batch or 1, context_of(described, asked.sequences.context)
    if described.family == "encoder":
        return reading_components(described.layout, precision, rows * tokens)
    if described.family != "decoder":
        raise _not_counted(described, "answering", "leave --model out and say --params")
    narrow = _key_heads(described) if asked.sequences.kv_cache_dtype == "int8" else 0
    state = described.shape.state(4 if precision == "fp32" else 2)
    if state and narrow:
        raise ConfigError(
            "this model keeps no keys and values, but a state of fixed size",
            field="--kv-cache-dtype", got="int8", expected="auto",
        )  # fmt: skip
    held = Held(rows, tokens, narrow=narrow, state=state)
    return answering_components(described.layout, precision, held)


def _key_heads(described: Shaped) -> int:
    from tutelage.plan.parameters import dimensions

    sizes = dimensions(described.layout)
    return sizes.key * described.shape.heads // sizes.query


def context_of(described: Shaped, asked: int | None) -> int:
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


def _each(components: Mapping[str, int], sharing: Sharing) -> int:
    """Bytes of one device."""
    from tutelage.plan.memory import per_device

    if sharing.devices is None:
        check_unused("without --devices", "say among how many --devices", zero=sharing.zero)
    if sharing.zero is None:
        check_unused("without --zero", "say what is divided with --zero", devices=sharing.devices)
    zero, devices = sharing.zero or 0, 1 if sharing.devices is None else sharing.devices
    each = per_device(components, zero, devices)
    if zero and devices > 1 and each == sum(components.values()):
        raise ConfigError(
            f"ZeRO stage {zero} divides nothing of: {', '.join(components)}",
            field="--zero",
            got=zero,
            expected="3, which divides the weights, or --train",
        )
    return each


def check_positive(**values: int | None) -> None:
    """Raises ConfigError for a number of things that is below one."""
    for name, value in values.items():
        if value is not None and value < 1:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} must be at least 1", field=flag, got=value, expected=">= 1")


def _not_counted(described: Shaped, what: str, hint: str) -> ConfigError:
    architecture = (described.config.get("architectures") or ["?"])[0]
    return ConfigError(
        f"what {what} holds of {architecture} is not counted part by part",
        field="--model",
        got=described.source,
        expected="a decoder of plain blocks, as LLaMA's and GPT-2's",
        hint=hint,
    )


def _cannot_train(precision: str | None) -> ConfigError:
    return ConfigError(
        "weights in this precision are not trained",
        field="--precision",
        got=precision,
        expected="fp32, fp16, bf16 or mixed",
    )
