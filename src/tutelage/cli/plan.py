"""`tutelage plan`: what a model will need, as arithmetic on its shape; nothing is built or run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal

from tutelage.cli.columns import print_table
from tutelage.cli.plan_memory import (
    Asked,
    Precision,
    Sequences,
    Sharing,
    Trained,
    check_unplaced,
    planned,
)
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.cli.plan_compute import compute
    from tutelage.cli.plan_formats import formats
    from tutelage.cli.plan_parallel import parallel
    from tutelage.cli.plan_scaling import scaling
    from tutelage.cli.plan_shapes import activations, method, peft

__all__ = [
    "activations", "compute", "formats", "memory", "method", "parallel", "parameters", "peft",
    "scaling",
]  # fmt: skip

_HOMES = {
    "compute": "compute", "formats": "formats", "parallel": "parallel", "scaling": "scaling",
    "activations": "shapes", "method": "shapes", "peft": "shapes",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A verb that has a file of its own, imported when it is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tutelage.cli.plan_{_HOMES[name]}"), name)


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
    from tutelage.checkpoints.shaped import shaped
    from tutelage.plan.course import course_table
    from tutelage.plan.parameters import active, by_part, dimensions, total

    check_unplaced(shared or Shared())
    if model is None and table is None:
        raise ConfigError("there is no model to count", field="--model", expected="a model source")
    described = shaped(model or "preset:gpt3-175b")
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
    sizes = {**result["components"], "total": result["total_bytes"]}
    if result["per_device_bytes"] != result["total_bytes"]:
        sizes["each device"] = result["per_device_bytes"]
    print(f"by {result['rule']}")
    rows = [(name, f"{size / 1e9:.3f}") for name, size in sizes.items()]
    print_table(("component", "GB"), rows, words=("component",))
    if (found := result["correction"]) is not None:
        print(
            f"corrected by {found['runs']} runs on this machine: "
            f"{result['corrected_bytes'] / 1e9:.3f} GB (runs left out were off by "
            f"{found['median_error']:.1%}, at worst {found['worst_error']:.1%})"
        )
    else:
        print("not corrected: too few training runs on this machine, or not of training")
    print(result["formula"])


def show_parameters(result: dict[str, Any]) -> None:
    """Print the parts as a table with their share."""
    total = result["total"]
    counts = {**result["parts"], "total": total}
    rows = [(name, f"{count:,}", f"{count / total:.2%}") for name, count in counts.items()]
    if result["active"] < total:
        share = f"{result['active'] / total:.2%}"
        rows.append(("that a token meets", f"{result['active']:,}", share))
    print(result["source"])
    print_table(("part", "parameters", "share"), rows, words=("part",))
    if "course" in result:
        _show_course(result["course"])


def _show_course(course: dict[str, Any]) -> None:
    said = "taught_millions" in course
    total = {"part": "sum", "parameters": course["sum"], "share": 1.0}
    rows = []
    for row in (*course["rows"], total | {"taught_millions": course.get("taught_millions")}):
        taught = (f"{row['taught_millions']:,}M",) if said else ()
        millions = f"{row['parameters'] / 1e6:,.0f}M"
        rows.append((row["part"], millions, *taught, f"{row['share']:.2%}"))
    print("as it is taught")
    headings = ("part", "millions", *(("taught",) if said else ()), "share")
    print_table(headings, rows, words=("part",))
    if said:
        (_, first), (name, norm) = (line.values() for line in course["taught_total"])
        said_sum = f"{course['taught_millions']:,}M"
        print(f"{first:,} + {name} {norm:,} = {first + norm:,}, taught as {said_sum}")
    more = "".join(f" + {row['part']} {row['parameters']:,}" for row in course["left_out"])
    print(f"{course['sum']:,}{more} = {course['built']:,} built")
