"""`tutelage plan activations`, `plan peft` and `plan method`: what follows from a model's shape."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.columns import print_table
from tutelage.cli.plan_compute import positive
from tutelage.cli.plan_memory import Plain, context_of
from tutelage.errors import ConfigError


def activations(
    *,
    model: str,
    batch: int = 1,
    context: int | None = None,
    tensor: int = 1,
    shared: Plain | None = None,
) -> dict[str, Any]:
    """Activations of a training step by the formula that is taught and the published one.

    Parameters
    ----------
    model
        A model source; only its configuration is read.
    batch
        Sequences at once.
    context
        Tokens of each; 2048 by default, or the model's longest if that is less.
    tensor
        Devices that share them by tensor parallelism.
    """
    from tutelage.checkpoints.shaped import shaped
    from tutelage.plan.activation_rules import RECOMPUTE, course, korthikanti

    described = shaped(model)
    if described.shape.encoder_layers or not described.shape.heads:
        raise ConfigError(
            "the formulas are of one stack of attention", field="--model", got=described.source,
            expected="an encoder or a decoder, no recurrent network",
        )  # fmt: skip
    positive("--batch", batch)
    tokens = context_of(described, context)
    shape = described.shape
    taught = course(shape, batch, tokens)
    found = {how: korthikanti(shape, batch, tokens, how, tensor) for how in RECOMPUTE}
    return {
        "source": described.source,
        "course": {"bytes": taught.bytes, "formula": taught.formula},
        "korthikanti": {
            how: {"bytes": part.bytes, "formula": part.formula} for how, part in found.items()
        },
        "ratio": found["none"].bytes / taught.bytes,
        "sources": ["as taught", "Korthikanti et al. 2022, arXiv:2205.05198, section 4"],
    }


def peft(
    *,
    model: str,
    method: str,
    rank: int = 8,
    tokens: int = 20,
    hidden: int | None = None,
    role: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    shared: Plain | None = None,
) -> dict[str, Any]:
    """Parameters that a way of tuning adds, beside the formula that is taught.

    Parameters
    ----------
    model
        A model source; only its configuration is read.
    method
        lora, adapter, adapter-pfeiffer, prefix, prefix-mlp or prompt.
    rank
        Of LoRA, or the width of an adapter.
    tokens
        Virtual tokens of a prefix or prompt.
    hidden
        Hidden width of the prefix's reparameterization; the model's if not given.
    role
        Linears that get LoRA, as attn.q; all by default.
    """
    from dataclasses import asdict

    from tutelage.checkpoints.shaped import shaped
    from tutelage.plan.added import Sizes, added

    for flag, value in (("--rank", rank), ("--tokens", tokens), ("--hidden", hidden)):
        if value is not None:
            positive(flag, value)
    described = shaped(model)
    sizes = Sizes(rank, tokens, hidden, role or None)
    found = added(described.layout, method, sizes)
    return {"source": described.source, "method": method, **asdict(found)}


def method(
    *,
    model: str,
    tokens: float = 1e6,
    epochs: int = 1,
    rank: int = 16,
    goal: Literal["time", "memory"] = "time",
    shared: Plain | None = None,
) -> dict[str, Any]:
    """The lifecycle's ways to a better model, with their numbers for a model and rows of yours.

    Parameters
    ----------
    model
        A model source; only its configuration is read.
    tokens
        Tokens of your rows.
    epochs
        How often they are read.
    rank
        Of LoRA.
    goal
        What the ways are ordered by.
    """
    from tutelage.checkpoints.shaped import shaped
    from tutelage.plan.added import Sizes, added
    from tutelage.plan.lifecycle import Case, sheet
    from tutelage.plan.parameters import total

    if epochs < 1:
        raise ConfigError("at least once", field="--epochs", got=epochs, expected=">= 1")
    positive("--rank", rank)
    described = shaped(model)
    adapter = added(described.layout, "lora", Sizes(rank=rank)).parameters
    case = Case(total(described.layout), adapter, positive("--tokens", tokens), epochs)
    key = {"time": "flops", "memory": "bytes"}[goal]
    return {"source": described.source, "ways": sorted(sheet(case), key=lambda way: way[key])}


def show_activations(result: dict[str, Any]) -> None:
    _page(
        {"as taught": result["course"]}
        | {f"published, recomputing {how}": row for how, row in result["korthikanti"].items()}
    )


def show_peft(result: dict[str, Any]) -> None:
    print(f"{result['parameters']:,} = {result['formula']} ({result['share']:.3%} of the model)")
    print(f"taught: {result['taught']:,} = {result['taught_formula']}; {result['note']}")


def show_method(result: dict[str, Any]) -> None:
    """Print the sheet."""
    print(result["source"])
    rows = [
        (
            way["name"], way["duration"], way["expertise"], f"{way['trained_parameters']:.3g}",
            f"{way['flops']:.3g}", f"{way['bytes'] / 1e9:.3g}",
        )
        for way in result["ways"]
    ]  # fmt: skip
    headings = ("way", "duration", "expertise", "trained", "FLOPs", "GB")
    print_table(headings, rows, words=headings[:3])
    for way in result["ways"]:
        print(f"{way['name']}: {way['customization']}; for {way['objective']}; {way['formula']}")


def _page(rows: dict[str, dict[str, Any]]) -> None:
    cells = [(name, f"{row['bytes'] / 1e9:.2f}", row["formula"]) for name, row in rows.items()]
    print_table(("", "GB", "formula"), cells, words=("", "formula"))
