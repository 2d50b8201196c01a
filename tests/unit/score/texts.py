"""Random texts that metrics stumble over: empty, repeated, punctuated, in several scripts."""

from __future__ import annotations

import random

TEXT = (
    "the cat sat on a mat , . don't U.S. 3,000.5 (yes) Straße naïve 猫 が 座る кошка 🙂 é e\u0301 "
    "long-running x y z z z &quot; <b> a_b \u00a0 half\u2028line"
)
WORDS = TEXT.split(" ")


def pairs(seed: int, count: int) -> tuple[list[str], list[str]]:
    """References and answers; some answers are copies, near copies, empty or blank."""
    generator = random.Random(seed)
    references, answers = [], []
    for _ in range(count):
        reference = [generator.choice(WORDS) for _ in range(generator.randrange(0, 14))]
        kept = [w if generator.random() < 0.7 else generator.choice(WORDS) for w in reference]
        cut = kept[: generator.randrange(0, len(kept) + 1)] if generator.random() < 0.3 else kept
        references.append(" ".join(reference))
        answers.append(generator.choice([" ".join(cut)] * 8 + ["", "  ", " ".join(reference)]))
    return references, answers
