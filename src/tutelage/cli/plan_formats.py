"""`tutelage plan formats VALUE`: a number as every format stores it, bit by bit."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from tutelage.cli.plan_memory import Plain


def formats(
    value: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    truncate: bool = False,
    shared: Plain | None = None,
) -> dict[str, Any]:
    """A number in FP32, TF32, FP16, BF16, FP8 and INT8: bits, value, error.

    Parameters
    ----------
    value
        A decimal number, as 3.141592.
    truncate
        Drop the bits left over instead of rounding to the nearest.
    """
    from tutelage.plan.formats import FORMATS, stored

    return {name: stored(value, form, truncate) for name, form in FORMATS.items()}


def show_formats(result: dict[str, Any]) -> None:
    """Draw the bits: sign, exponent and fraction each in a colour."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for column in ("format", "sign exponent fraction", "value", "error", "largest"):
        right = column in ("value", "error", "largest")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for name, found in result.items():
        colours = ("red", "green", "blue") if len(found["parts"]) == 3 else ("blue",)
        pairs = zip(found["parts"], colours, strict=True)
        bits = Text(" ").join(Text(part, style=colour) for part, colour in pairs)
        held = found["value"] is not None
        table.add_row(
            name, bits, f"{found['value']:.9g}" if held else found["reason"].split(": ")[1],
            f"{found['error']:.3g}" if held else "", f"{found['largest']:.6g}",
        )  # fmt: skip
    Console(width=120).print(table)
