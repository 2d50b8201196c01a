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
TAUGHT = {"positions": 25, "tokens": 617, "attention": 57_982, "feed-forward": 115_970}
"""Of GPT-3, in millions; the parts are cut off, not rounded."""
TAUGHT_TOTAL, GPT3 = 174_597, 174_604_259_328
"""What is taught to be their sum, in millions, and what is built of that shape."""


def course_table(entries: Sequence[Entry]) -> dict[str, Any]:
    """The taught parts with their shares, and the lines from their sum to what is built; of GPT-3
    also the taught numbers, and what leads from the parts' sum to the total that is taught."""
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
    found = {"rows": rows, "sum": taught, "left_out": lines, "built": total(entries)}
    return found | (_as_taught(found, left) if found["built"] == GPT3 else {})


def _as_taught(found: dict[str, Any], left: dict[str, int]) -> dict[str, Any]:
    """Millions as they are taught, beside the parts, and the line to their total."""
    one_norm = left["norms of layers"] // 2
    return {
        "rows": [{**row, "taught_millions": TAUGHT[row["part"]]} for row in found["rows"]],
        "taught_millions": TAUGHT_TOTAL,
        "taught_total": [
            {"part": "sum", "parameters": found["sum"]},
            {"part": "one norm a layer", "parameters": one_norm},
        ],
    }


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
