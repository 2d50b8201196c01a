"""F1 of labelled spans, as seqeval and conlleval count them: a span is right where its type, start
and end are.

    F1 = 2 TP / (spans of the answers + spans of the references)     over all rows together

References and answers are tags divided by white space, as `B-PER I-PER O`, in IOB1, IOB2 or BIOES.
A missing tag counts as O, one too many is left out. Tjong Kim Sang and De Meulder 2003.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.score._metric import Metric, divide

Span = tuple[str, int, int]


def spans(tags: Sequence[str]) -> set[Span]:
    """(type, first, last) of every span. A tag that does not go on begins one."""
    found: set[Span] = set()
    before, kind, begin = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, now = tag.partition("-")
        inside = before not in ("O", "")
        if inside and _ends(before, prefix, kind, now):
            found.add((kind, begin, place - 1))
        if prefix in ("B", "I", "E", "S") and (not inside or _ends(before, prefix, kind, now)):
            begin = place
        before, kind = prefix, now
    return found


def _ends(before: str, prefix: str, kind: str, now: str) -> bool:
    """Whether a span does not go on from one tag to the next."""
    return prefix in ("O", "B", "S", "") or before in ("E", "S") or kind != now


def _statistics(references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Columns: spans both have, of the answer, of the reference."""
    rows = []
    for reference, answer in zip(references, answers, strict=True):
        true, got = reference.split(), answer.split()
        got = (got + ["O"] * len(true))[: len(true)]
        wanted, named = spans(true), spans(got)
        rows.append([len(wanted & named), len(named), len(wanted)])
    return np.asarray(rows, dtype=float).reshape(len(rows), 3)


def _aggregate(sums: np.ndarray) -> np.ndarray:
    return divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


METRIC = Metric("span_f1", _statistics, _aggregate, reads="tags")
