"""`tutelage claims`: the ledger of the field's numbers and claims, each with a verdict."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tutelage.cli.plan_memory import Plain

if TYPE_CHECKING:
    from tutelage.claims.entries import Entry, Found

MARKS = {
    "holds": "green",
    "does not hold here": "red",
    "sources disagree": "yellow",
    "cannot tell": "yellow",
    "not run": "cyan",
    "not testable here": "dim",
}


def claims(
    id: str | None = None, *, run: bool = False, shared: Plain | None = None
) -> dict[str, Any]:
    """Numbers, formulas and claims of the field, with what is computed here and a verdict.

    Parameters
    ----------
    id
        One claim alone.
    run
        Measure what only a measurement can say, too; it takes minutes. Formulas are always
        evaluated. Results are kept for this commit, and shown without --run afterwards.
    """
    from tutelage.claims.entries import entries, find
    from tutelage.claims.kept import kept

    chosen = entries() if id is None else [find(id)]
    return {"claims": [one(entry, run, kept(entry, of_this_code=run)) for entry in chosen]}


def one(entry: Entry, run: bool = False, known: Found | None = None) -> dict[str, Any]:
    """A claim judged, its command run where it is quick, or where it was asked for and no result
    is `known`."""
    from tutelage.claims.entries import found_in, judged
    from tutelage.claims.kept import keep
    from tutelage.claims.studies import studied

    if not entry.computed:
        return judged(entry, None)
    if entry.study:
        return judged(entry, studied(entry))
    if entry.kind != "measurement" or entry.quick:
        assert entry.command is not None
        return judged(entry, found_in(entry, _answer(entry.command)))
    if known is not None or not run:
        return judged(entry, known)
    return judged(entry, keep(entry, measured(entry)))


def measured(entry: Entry) -> Found:
    """An entry's value by its command lines, in a folder of their own that is removed."""
    from tempfile import TemporaryDirectory

    from tutelage.claims.entries import found_in

    assert entry.command is not None
    with TemporaryDirectory() as folder:
        lines = [*entry.before, entry.command, *([entry.against] if entry.against else [])]
        answers = [_answer(line.replace("{folder}", folder)) for line in lines]
    first = len(entry.before)
    return found_in(entry, answers[first], answers[first + 1] if entry.against else None)


def _answer(command: str) -> dict[str, Any]:
    """The object of a command line, run within this process."""
    from tutelage.cli.main import build_app

    words = shlex.split(command)
    verb, bound, _ = build_app(words).parse_args(
        words, print_error=False, exit_on_error=False, help_on_error=False
    )
    found: dict[str, Any] = verb(*bound.args, **bound.kwargs)
    return found


def show(result: dict[str, Any]) -> None:
    """Print the claims: a table of all, or one in full."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if len(result["claims"]) == 1:
        for name, value in result["claims"][0].items():
            console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=None)
    for column in ("claim", "claimed", "here", "verdict"):
        table.add_column(column)
    for claim in result["claims"]:
        said = " / ".join(shown(one["value"]) for one in claim["claimed"])
        verdict = claim["verdict"]
        here = shown(claim["value"]) + within(claim["interval"])
        table.add_row(claim["id"], said, here, f"[{MARKS[verdict]}]{verdict}[/]")
    console.print(table)


def within(interval: list[float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.3g} to {interval[1]:.3g})"


def shown(value: float | str | None) -> str:
    """A number in six digits."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:,.6g}"
