"""`tutelage plan compute`: FLOPs of training, and the days and money they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.plan_memory import Plain, check_unused
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.plan.compute import PerToken


@Parameter(name="*")
@dataclass(frozen=True)
class Machine:
    """What it is computed on."""

    device: Annotated[str | None, Parameter(name="--device")] = None
    """A device of the table, as a100: it says what the peak is."""
    peak: float | None = None
    """FLOP/s of one device, in place of a --device of the table."""
    precision: str | None = None
    """The format whose peak is used: bf16, fp16, tf32, fp32, fp8, or sparse; the device's usual one
    by default."""
    count: int | None = None
    """Devices; 1 by default."""
    mfu: float | None = None
    """Model FLOPs utilization, the share of the peak that is reached; 1 by default."""
    price_per_hour: float | None = None
    """Price of one device for an hour, for the cost in the same money."""
    tokens_per_second: float | None = None
    """What was observed: gives the MFU instead of taking it."""


def compute(
    *,
    params: float | None = None,
    model: str | None = None,
    tokens: float | None = None,
    flops: float | None = None,
    context: int | None = None,
    convention: str | None = None,
    machine: Machine | None = None,
    shared: Plain | None = None,
) -> dict[str, Any]:
    """FLOPs of training, petaflop/s-days, and on a device the days and the money.

    Parameters
    ----------
    params
        Number of parameters, as in 175e9: 6 FLOPs of each a token.
    model
        A model source; only its configuration is read. Attention is counted too.
    tokens
        Tokens trained on.
    flops
        The FLOPs themselves, in place of a model and its tokens.
    context
        Tokens a row, for attention; the model's longest, at most 2048, if not given.
    convention
        6n, causal (the default with --model), palm or course; see docs/planning.md.
    """
    machine = machine or Machine()
    if flops is not None:
        check_unused(
            "beside --flops", "leave it out", params=params, model=model, tokens=tokens,
            context=context, convention=convention, tokens_per_second=machine.tokens_per_second,
        )  # fmt: skip
        total, each = positive("--flops", flops), None
    else:
        each = _per_token(params, model, context, convention)
        if tokens is None and machine.tokens_per_second is None:
            raise ConfigError(
                "say how many tokens", field="--tokens", expected="a number, as 300e9"
            )
        total = each.flops * positive("--tokens", 1 if tokens is None else tokens)
    return _result(total, each, tokens is None and flops is None, machine)


def _result(
    total: float, each: PerToken | None, one_token: bool, machine: Machine
) -> dict[str, Any]:
    from tutelage.plan.compute import petaflop_s_days

    known = {"flops": total, "petaflop_s_days": petaflop_s_days(total), "seconds": None}
    counted = {
        "flops_per_token": each and each.flops,
        "convention": each and each.convention,
        "counts_embeddings": each and each.counts_embeddings,
        "keys_seen": each and each.keys_seen,
    }
    formula = f"({each.formula}) a token" if each else "as given"
    if each and not one_token:
        formula += f" x {total / each.flops:g} tokens"
    timed = _timed(total, each, machine, one_token)
    source = timed.pop("source", None)
    return {
        **known, **counted, **timed,
        "formula": f"{formula}; 1 petaflop/s-day = 8.64e19 FLOPs" + timed.pop("how", ""),
        "sources": [s for s in (SOURCES[each.convention] if each else None, source) if s],
    } | {k: v for k, v in timed.items() if k not in ("how", "source")}  # fmt: skip


SOURCES = {
    "6n": "Kaplan et al. 2020, arXiv:2001.08361, section 2.1",
    "causal": "Kaplan et al. 2020, section 2.1, with half of the square of attention",
    "palm": "Chowdhery et al. 2022, arXiv:2204.02311, appendix B",
    "course": "as taught: matrices of the blocks, and half of the square of attention",
}


def _timed(
    total: float, each: PerToken | None, machine: Machine, one_token: bool
) -> dict[str, Any]:
    """Seconds and money on a machine, and the peak they rest on."""
    from tutelage.plan.compute import PETAFLOP_S_DAY, mfu, seconds
    from tutelage.plan.devices import device

    if machine.device is None and machine.peak is None:
        check_unused(
            "without a device", "name a --device or its --peak", **vars(machine)
        )  # fmt: skip
        return {}
    if machine.device is not None and machine.peak is not None:
        raise ConfigError("say either which device or its peak", field="--device, --peak")
    if machine.peak is not None:
        check_unused("beside --peak", "leave it out", precision=machine.precision)
        peak, of, source = positive("--peak", machine.peak), "as given", None
        more = {}
    else:
        assert machine.device is not None
        known = device(machine.device)
        of = f"{known.name} {known.format(machine.precision)}"
        peak, source = known.peak(machine.precision), known.source
        more = {
            "memory_bytes": known.memory_bytes,
            "bandwidth_bytes_per_second": known.bandwidth_bytes_per_second,
        }
    count = 1 if machine.count is None else machine.count
    share = 1.0 if machine.mfu is None else machine.mfu
    if count < 1 or not 0 < share <= 1:
        field, got = ("--count", count) if count < 1 else ("--mfu", share)
        raise ConfigError(f"{field} is out of range", field=field, got=got)
    found: dict[str, Any] = {
        "peak_flops": peak, "peak_of": of, "devices": count, "mfu": share,
        "devices_for_a_petaflop_s_day": PETAFLOP_S_DAY / (86_400 * peak * share),
        "source": source, **more,
    }  # fmt: skip
    if machine.tokens_per_second is not None:
        assert each is not None
        positive("--tokens-per-second", machine.tokens_per_second)
        check_unused("beside --tokens-per-second", "it is what comes out", mfu=machine.mfu)
        found["mfu"] = share = mfu(machine.tokens_per_second, each.flops, peak, count)
    time = None if one_token else seconds(total, peak, count, share)
    found |= {"seconds": time, "days": time and time / 86_400}
    found["how"] = f"; FLOPs / ({peak:g} FLOP/s of {of} x {count} x {share:.3g})"
    if machine.price_per_hour is not None:
        price = positive("--price-per-hour", machine.price_per_hour)
        found["cost"] = None if time is None else price * count * time / 3600
    return found


def _per_token(
    params: float | None, model: str | None, context: int | None, convention: str | None
) -> PerToken:
    from tutelage.cli.plan_memory import context_of, subject
    from tutelage.plan.compute import of_model, of_parameters

    count, described = subject(params, model)
    if described is None:
        check_unused(
            "without the shape of a --model", "name a --model", context=context,
            convention=None if convention == "6n" else convention,
        )  # fmt: skip
        return of_parameters(count)
    if described.family != "decoder":
        raise ConfigError(
            "FLOPs are counted for decoders", field="--model", got=described.source,
            expected="a decoder", hint="say --params, for 6 N",
        )  # fmt: skip
    chosen = convention or "causal"
    if chosen == "6n":
        check_unused("with --convention 6n", "leave it out", context=context)
    return of_model(described.layout, described.shape, context_of(described, context), chosen)


def positive(flag: str, value: float) -> float:
    if not 0 < value < 1e40:
        raise ConfigError(f"{flag} must be above 0", field=flag, got=value, expected="> 0")
    return value


def show_compute(result: dict[str, Any]) -> None:
    """Print what was counted, then what it rests on."""
    lines = [f"{result['flops']:.4g} FLOPs = {result['petaflop_s_days']:,.1f} petaflop/s-days"]
    if result.get("seconds"):
        lines.append(
            f"{result['seconds'] / 86_400:,.2f} days on {result['devices']} x {result['peak_of']} "
            f"({result['peak_flops'] / 1e12:g} TFLOP/s) at MFU {result['mfu']:.3f}"
        )
    elif "mfu" in result:
        lines.append(f"MFU {result['mfu']:.3f} of {result['peak_of']}")
    if result.get("cost"):
        lines.append(f"cost {result['cost']:,.2f}")
    lines += [result["formula"], *result["sources"]]
    print("\n".join(lines))
