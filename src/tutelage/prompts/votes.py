"""Self-consistency: several answers are drawn, and the one most of them agree on is taken.

Wang et al. 2022, arXiv:2203.11171 (Maj1@k). With a threshold, a majority smaller than it gives way
to the greedy answer (CoT@32 of the Gemini report, arXiv:2312.11805, appendix 9.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence


def voted(
    answers: Sequence[str | None],
    greedy: str | None = None,
    threshold: float = 0.0,
    form: Callable[[str], str] = str.strip,
) -> str | None:
    """The answer most of the draws agree on, in the words of the first that gave it.

    `form` is what counts as the same. Draws without an answer do not vote but count in the share
    that `threshold` asks for. Of equally many, the one drawn first. Without any, `greedy`.
    """
    given = [answer for answer in answers if answer is not None]
    if not given:
        return greedy
    counts = Counter(form(answer) for answer in given)
    most = max(counts.values())
    if most / len(answers) < threshold:
        return greedy
    return next(answer for answer in given if counts[form(answer)] == most)
