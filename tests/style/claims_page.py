"""docs/claims.md, made from the ledger with its formulas evaluated: `scripts/claims` writes it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.style.sources import ROOT
from tutelage.claims.entries import entries
from tutelage.cli.claims import one, shown, within

PAGE = ROOT / "docs" / "claims.md"
HEAD = """# The ledger of claims

Courses, slides and papers of the field repeat a set of numbers, formulas and claims. Some are
exact, some rounded, some contradict each other. Here each has an entry: what is claimed and by
whom, what the command beside it gives, and a verdict, which follows from comparing the two and is
not written down. `tutelage claims` prints them, `tutelage claims ID` one of them in full; the
entries are `src/tutelage/claims/*.toml`, and this page is made from them by `scripts/claims`.

*holds*: every source agrees with what comes out here. *sources disagree*: some do. *does not hold
here*: none does. *cannot tell*: the interval of what was found leaves it open. *not run*: the
command that would say so is there, and was not run here. *not testable here*: what it needs is not
there yet. Nothing is faked. `tutelage claims --run` takes the measurements that have commands, in a
folder of their own, and keeps what they gave with its record for this commit; what studies of
`examples/` found is read from their results. The interval of a difference is made from those of its
two sides, as if they were independent: where both were measured on the same rows it is wider than
need be.

"""
TITLES = {
    "formula": "## Numbers and formulas",
    "published": "## Published figures, looked up and not computed",
    "measurement": "## Claims that take a measurement",
}


def made() -> str:
    """The whole page."""
    claims = [one(entry) for entry in entries()]
    counts = Counter(claim["verdict"] for claim in claims)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    parts = [HEAD, f"{len(claims)} entries: {said}.\n"]
    for kind, title in TITLES.items():
        lines = [_line(claim) for claim in claims if claim["kind"] == kind]
        parts.append(f"\n{title}\n\n{_table(kind)}{''.join(lines)}")
    return "".join(parts)


def _table(kind: str) -> str:
    return {
        "formula": "| claim | claimed by | here | verdict |\n|---|---|--:|---|\n",
        "published": "| claim | sources | verdict |\n|---|---|---|\n",
        "measurement": "| claim | sources | found, or what it needs |\n|---|---|---|\n",
    }[kind]


def _line(claim: dict[str, Any]) -> str:
    note = f" ({claim['note']})" if claim["note"] else ""
    if claim["kind"] == "formula":
        said = "<br>".join(f"{shown(c['value'])}: {c['source']}" for c in claim["claimed"])
        text = f"{claim['statement']}{note}<br>`{claim['command']}`"
        return _row(text, said, shown(claim["value"]), f"**{claim['verdict']}**")
    sources = "<br>".join(claim["sources"])
    if claim["kind"] == "published":
        return _row(f"{claim['statement']}{note}", sources, f"**{claim['verdict']}**")
    if claim["value"] is None:
        return _row(claim["statement"], sources, f"**{claim['verdict']}**: {claim['note']}")
    text = f"{claim['statement']}<br>`{claim['command']}`"
    value = shown(claim["value"]) + within(claim["interval"])
    return _row(text, sources, f"**{claim['verdict']}**: {value}{note}")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
