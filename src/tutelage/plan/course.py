"""A decoder's parameters as courses add them up, and what that leaves out of the built model.

Taught for GPT-3: positions T d, tokens V d, attention 4 L d^2, feed-forward 8 L d^2 + 5 L d, that
is 25M + 617M + 57,982M + 115,970M. The biases of attention and all norms are missing, and the total
that is taught, 174,597M, is one norm a layer more than its own parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.plan.parameters import Entry, size, total

PARTS = ("positions", "tokens", "attention", "feed-forward", "head")


def course_table(entries: Sequence[Entry]) -> dict[str, Any]:
    """The taught parts with their shares, and the lines from their sum to what is built."""
    counts = dict.fromkeys(PARTS, 0)
    left: dict[str, int] = {}
    for entry in entries:
        part = _part(entry)
        target = counts if part in counts else left
        target[part] = target.get(part, 0) + size(entry)
    taught = sum(counts.values())
    rows = [
        {"part": part, "parameters": count, "share": count / taught}
        for part, count in counts.items()
        if count
    ]
    lines = [{"part": part, "parameters": count} for part, count in left.items()]
    return {"rows": rows, "sum": taught, "left_out": lines, "built": total(entries)}


def _part(entry: Entry) -> str:
    """The taught part a weight belongs to, or what it is if it belongs to none."""
    role, matrix = entry.role, len(entry.shape) == 2
    if role == "norm":
        return "last norm" if entry.layer is None else "norms of layers"
    if role.startswith("mlp."):
        return "feed-forward"
    if role.startswith(("attn.", "cross.")):
        return "attention" if matrix else "biases of attention"
    return {"embed": "tokens", "embed.position": "positions", "head": "head"}.get(role, role)
