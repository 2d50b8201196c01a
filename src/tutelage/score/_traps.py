"""The trap set: where the wording says one thing and the meaning another.

Each trap has a reference, an answer that means the `same` in other words, and one that means
something `different` in nearly the same words. A metric falls into it where it scores the different
one as high as the same one, or higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.score._metric import Metric


@dataclass(frozen=True)
class Trap:
    kind: str
    reference: str
    same: str
    different: str


_TEXTS = """
negation
    He does not drink coffee.
    He never has coffee.
    He does drink coffee.
    The door was not locked.
    The door was open.
    The door was locked.
    The drug is not safe for children.
    Children must not be given the drug.
    The drug is safe for children.
    No survivors were found.
    Nobody was found alive.
    Survivors were found.
    She failed to win the race.
    She lost the race.
    She managed to win the race.
    I would not recommend this hotel.
    Stay away from this hotel.
    I would recommend this hotel.
paraphrase
    She loves drinking tea.
    She adores sipping tea.
    She hates drinking tea.
    The firm dismissed its chief.
    The company fired its boss.
    The firm promoted its chief.
    It is raining heavily.
    It is pouring outside.
    It is snowing heavily.
    The child is ill.
    The kid feels sick.
    The child is well.
    Prices rose quickly last year.
    Last year saw a rapid climb in costs.
    Prices fell quickly last year.
    The dog bit the man.
    The man was bitten by the dog.
    The man bit the dog.
numbers
    The meeting starts at 3 pm.
    The meeting begins at three in the afternoon.
    The meeting starts at 5 pm.
    Take 10 mg of it twice a day.
    Ten milligrams of it, two times daily.
    Take 100 mg of it twice a day.
    The bridge is 120 metres long.
    The length of the bridge is 120 m.
    The bridge is 210 metres long.
    The war ended in 1945.
    1945 was when the war came to an end.
    The war ended in 1918.
    Half of the voters agreed.
    50% of the electorate said yes.
    A third of the voters agreed.
    The ticket costs 15 euros.
    One pays fifteen euros for the ticket.
    The ticket costs 50 euros.
"""
"""A kind, then three lines a trap: reference, same, different."""


def _read(text: str) -> tuple[Trap, ...]:
    found: list[Trap] = []
    kind, lines = "", []
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            kind = line
            continue
        lines.append(line.strip())
        if len(lines) == 3:
            found.append(Trap(kind, *lines))
            lines = []
    return tuple(found)


TRAPS = _read(_TEXTS)


def sprung(metric: Metric, traps: Sequence[Trap] = TRAPS) -> list[dict[str, Any]]:
    """What a metric gives both answers of each trap, and whether it fell in."""
    rows = []
    for trap in traps:
        same, different = (_score(metric, trap.reference, a) for a in (trap.same, trap.different))
        worse = different <= same if metric.errors else different >= same
        rows.append(
            {
                "kind": trap.kind, "reference": trap.reference, "same": trap.same,
                "different": trap.different, "same_score": same, "different_score": different,
                "fell": bool(worse),
            }
        )  # fmt: skip
    return rows


def fallen(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Share of traps fallen into, by kind and over all."""
    kinds = dict.fromkeys(row["kind"] for row in rows)
    by_kind = {
        kind: [row["fell"] for row in rows if row["kind"] == kind] for kind in kinds
    } | {"all": [row["fell"] for row in rows]}  # fmt: skip
    return {kind: sum(fell) / len(fell) for kind, fell in by_kind.items()}


def _score(metric: Metric, reference: str, answer: str) -> float:
    return float(metric.aggregate(metric.statistics([reference], [answer]).sum(axis=0)))
