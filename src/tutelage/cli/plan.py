"""`tutelage plan`: what a model will need, as arithmetic on its shape; nothing is built or run."""

from __future__ import annotations

from typing import Any, Literal

from tutelage.cli.plan_compute import compute
from tutelage.cli.plan_formats import formats
from tutelage.cli.plan_memory import (
    Asked,
    Precision,
    Sequences,
    Sharing,
    Trained,
    check_unplaced,
    planned,
)
from tutelage.cli.plan_parallel import parallel
from tutelage.cli.plan_scaling import scaling
from tutelage.cli.plan_shapes import activations, method, peft
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

__all__ = [
    "activations", "compute", "formats", "memory", "method", "parallel", "parameters", "peft",
    "scaling",
]  # fmt: skip


def memory(
    *,
    params: float | None = None,
    model: str | None = None,
    precision: Precision | None = None,
    train: bool = False,
    rule: str | None = None,
    trained: Trained | None = None,
    sequences: Sequences | None = None,
    sharing: Sharing | None = None,
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
        What the weights are stored in. By default bf16, mixed for training a --model, fp32 with
        --params. Training in bf16, fp16 or mixed keeps float32 masters of what it trains.
    train
        Training, not answering.
    rule
        A rule of thumb for training instead: course-24 or mixed-16.
    """
    return planned(
        Asked(
            params, model, precision, train, rule, trained or Trained(), sequences or Sequences(),
            sharing or Sharing(), shared or Shared(),
        )
    )  # fmt: skip


def parameters(
    *,
    model: str | None = None,
    table: Literal["course"] | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Parameters by part, from the model's shape.

    Parameters
    ----------
    model
        A model source; only its configuration is read. The model of the taught table is
        preset:gpt3-175b.
    table
        course: the sum that is taught, and what it leaves out of the model that is built.
    """
    from tutelage.cli.model import describe
    from tutelage.plan.course import course_table
    from tutelage.plan.parameters import active, by_part, dimensions, total

    check_unplaced(shared or Shared())
    if model is None and table is None:
        raise ConfigError("there is no model to count", field="--model", expected="a model source")
    described = describe(model or "preset:gpt3-175b")
    layout = described.layout
    first = [weight for weight in layout if weight.layer == 0]
    sizes = dimensions(layout)
    return {
        "source": described.source,
        "total": total(layout),
        "active": active(layout),
        "parts": by_part(layout),
        "layers": sizes.layers,
        "per_layer": total(first),
        "tied_head": sizes.tied,
        **({"course": course_table(layout)} if table else {}),
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
    if (found := result["correction"]) is not None:
        console.print(
            f"corrected by {found['runs']} runs on this machine: "
            f"{result['corrected_bytes'] / 1e9:.3f} GB (runs left out were off by "
            f"{found['median_error']:.1%}, at worst {found['worst_error']:.1%})"
        )
    else:
        console.print("not corrected: too few training runs on this machine, or not of training")
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
    if result["active"] < result["total"]:
        share = f"{result['active'] / result['total']:.2%}"
        table.add_row("that a token meets", f"{result['active']:,}", share)
    Console().print(table)
    if "course" in result:
        _show_course(result["course"])


def _show_course(course: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="as it is taught", box=None)
    said = "taught_millions" in course
    for column in ("part", "millions", *(("taught",) if said else ()), "share"):
        table.add_column(column, justify="left" if column == "part" else "right")
    total = {"part": "sum", "parameters": course["sum"], "share": 1.0}
    for row in (*course["rows"], total | {"taught_millions": course.get("taught_millions")}):
        taught = (f"{row['taught_millions']:,}M",) if said else ()
        millions, share = f"{row['parameters'] / 1e6:,.0f}M", f"{100 * row['share']:.2f}%"
        table.add_row(row["part"], millions, *taught, share, style="bold" * (row["part"] == "sum"))
    Console().print(table)
    if said:
        (_, first), (name, norm) = (line.values() for line in course["taught_total"])
        said_sum = f"{course['taught_millions']:,}M"
        print(f"{first:,} + {name} {norm:,} = {first + norm:,}, taught as {said_sum}")
    more = "".join(f" + {row['part']} {row['parameters']:,}" for row in course["left_out"])
    print(f"{course['sum']:,}{more} = {course['built']:,} built")
