"""The n-gram model against loops over dictionaries, and that its probabilities are such."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from tutelage.pretrain.kneser_ney import KneserNey, discounts_of

VOCABULARY = 9


def drawn(count: int, length: int, seed: int) -> list[list[int]]:
    """Documents of a chain in which the next token mostly follows from the last two."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ids = [int(generator.integers(VOCABULARY)), int(generator.integers(VOCABULARY))]
        while len(ids) < length:
            likely = (3 * ids[-1] + ids[-2]) % VOCABULARY
            ids.append(likely if generator.random() < 0.6 else int(generator.integers(VOCABULARY)))
        made.append(ids)
    return made


class Loops:
    """The same by the formulas of the paper, one n-gram at a time."""

    def __init__(self, documents: Sequence[Sequence[int]], order: int) -> None:
        self.order = order
        top: Counter[tuple[int, ...]] = Counter()
        for ids in documents:
            row = [-1] * (order - 1) + list(ids)
            for end in range(order, len(row) + 1):
                top[tuple(row[end - order : end])] += 1
        self.counts = {order: dict(top)}
        for length in range(order - 1, 0, -1):
            before = defaultdict(set)
            for gram in self.counts[length + 1]:
                before[gram[1:]].add(gram[0])
            self.counts[length] = {gram: len(tokens) for gram, tokens in before.items()}
        self.discounts = {n: self._discounts(list(c.values())) for n, c in self.counts.items()}

    def _discounts(self, counts: list[int]) -> list[float]:
        n = [0, *(sum(1 for count in counts if count == i) for i in (1, 2, 3, 4))]
        if 0 in n[1:]:
            return [0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return found if min(found[1:]) > 0 else [0, 0.5, 1.0, 1.5]

    def p(self, token: int, history: tuple[int, ...]) -> float:
        length = len(history) + 1
        shorter = self.p(token, history[1:]) if history else 1 / VOCABULARY
        following = {g: c for g, c in self.counts[length].items() if g[:-1] == history}
        if not following:
            return shorter
        discounts, total = self.discounts[length], sum(following.values())
        count = following.get((*history, token), 0)
        spared = sum(discounts[min(c, 3)] for c in following.values()) / total
        return (count - discounts[min(count, 3)]) / total + spared * shorter


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_loops(order: int) -> None:
    train, test = drawn(20, 30, 0), [*drawn(3, 12, 1), [4]]
    model, loops = KneserNey(train, VOCABULARY, order), Loops(train, order)
    found = model.log2(test)
    for ids, got in zip(test, found, strict=True):
        row = [-1] * (order - 1) + ids
        wanted = [
            math.log2(loops.p(token, tuple(row[at : at + order - 1])))
            for at, token in enumerate(ids)
        ]
        assert got == pytest.approx(wanted, abs=1e-9)


def test_probabilities_sum_to_one() -> None:
    model = KneserNey(drawn(20, 30, 0), VOCABULARY, 4)
    for start in ([], [3], [1, 1, 1, 1], [0, 5, 8, 2, 2]):
        last = [ids[-1] for ids in model.log2([[*start, token] for token in range(VOCABULARY)])]
        assert sum(2.0**one for one in last) == pytest.approx(1.0)


def test_longer_histories_help_where_text_has_them() -> None:
    train, test = drawn(300, 40, 2), drawn(30, 40, 3)
    bits = [-np.concatenate(KneserNey(train, VOCABULARY, n).log2(test)).mean() for n in (1, 2, 3)]
    assert min(bits[:2]) > bits[2] + 0.5, "the chain is one of two tokens"


def test_discounts_of_a_known_table() -> None:
    """n = 10, 5, 3, 2: Y = 1/2."""
    counts = np.repeat([1, 2, 3, 4, 7], [10, 5, 3, 2, 1])
    assert discounts_of(counts) == pytest.approx([0, 0.5, 2 - 3 * 0.5 * 3 / 5, 3 - 4 * 0.5 * 2 / 3])


def test_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        KneserNey([], VOCABULARY)
