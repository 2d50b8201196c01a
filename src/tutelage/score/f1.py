"""Token F1 of short answers as SQuAD counts it, mean over rows (Rajpurkar et al. 2016).

F1 = 2 * common / (tokens of the answer + tokens of the reference), both normalised;
where one side has no token left, 1 if the other has none either, else 0
"""

from __future__ import annotations

from collections import Counter

from tutelage.score._metric import mean_of
from tutelage.score._normalise import short_answer


def _score(reference: str, answer: str) -> float:
    expected, got = short_answer(reference).split(), short_answer(answer).split()
    if not expected or not got:
        return float(expected == got)
    common = (Counter(expected) & Counter(got)).total()
    return 2 * common / (len(expected) + len(got))


METRIC = mean_of("f1", _score)
