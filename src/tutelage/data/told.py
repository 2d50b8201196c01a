"""How rows that were set aside are told: counted by reason, and the first of each by FILE:LINE.

People get the first few of each reason, files and JSON the first LISTED: enough to mend what is
wrong, whatever the size of the data. Knows neither files nor models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tutelage.data.rows import REASONS, SetAside

LISTED = 200
"""Rows of each reason that files and JSON name; all of them are counted."""
SHOWN = 5
"""Rows of each reason that people are shown."""


def listed(aside: Iterable[SetAside]) -> list[dict[str, str]]:
    """The first LISTED rows of each reason as `{"where", "reason", "detail"}`, in their order."""
    seen: Counter[str] = Counter()
    found = []
    for one in aside:
        seen[one.reason] += 1
        if seen[one.reason] <= LISTED:
            found.append({"where": one.where, "reason": one.reason, "detail": one.detail})
    return found


def counted(reasons: Mapping[str, int]) -> str:
    """`12 bad-json, 3 too-long`; `none` where there is none."""
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def shown(reasons: Mapping[str, int], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines for people: each reason with its count and its first rows, as `listed` gives them."""
    lines = []
    for reason, count in reasons.items():
        meaning = f": {REASONS[reason]}" if reason in REASONS else ""
        lines.append(f"{count} {reason}{meaning}")
        first = [one for one in rows if one["reason"] == reason][:SHOWN]
        lines += [_printable(f"  {one['where']}: {one['detail']}") for one in first]
        if first and count > len(first):
            lines.append(f"  and {count - len(first)} more")
    return lines


def _printable(line: str) -> str:
    """What files hold is shown on a terminal, not obeyed by it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
