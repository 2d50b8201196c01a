"""An n-gram language model with modified Kneser-Ney smoothing: what a neural one must beat.

    p_k(w | h) = (c(h w) - D(c(h w))) / c(h) + g(h) p_{k-1}(w | h less its first token)
    g(h) = (D_1 N_1(h) + D_2 N_2(h) + D_3 N_3+(h)) / c(h),     p_0 = 1 / V

c of the longest n-grams is how often they occur, of shorter ones how many different tokens occur
before them; N_i(h) is how many different tokens follow h with a count of i; c(h) sums c(h w).

    Y = n_1 / (n_1 + 2 n_2),  D_i = i - (i + 1) Y n_{i+1} / n_i

with n_i the number of n-grams of count i; where a text is so small that one of these is no number
above 0, D_i = i / 2.
Source: Chen and Goodman 1999, doi:10.1006/csla.1999.0128, section 3 (interpolated).

Documents are apart: before each stand order - 1 tokens that are predicted by nothing. All counts
are arrays in memory, about 100 bytes a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ORDER = 5
UNSEEN = -1


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length, by number: `keys` sorted, [G]; their counts discounted,
    `left` [G]; and of each history, [H]: c(h), and the mass g(h) that the shorter n-grams get."""

    keys: np.ndarray
    left: np.ndarray
    totals: np.ndarray
    spared: np.ndarray


class KneserNey:
    """p of every token after the order - 1 before it, over a vocabulary of V tokens."""

    def __init__(self, documents: Iterable[Sequence[int]], vocabulary: int, order: int = ORDER):
        """Counts. Raises ValueError where there is no token."""
        self.vocabulary, self.order = vocabulary, order
        tokens, within = self._stream(documents)
        if not within.any():
            raise ValueError("no token to count")
        numbers = [np.zeros(len(tokens), dtype=np.int64)]
        keys = []
        for _ in range(order):
            found, number = np.unique(self._keys(numbers[-1], tokens), return_inverse=True)
            keys.append(found)
            numbers.append(number)
        self._orders: list[_Order] = []
        # The first occurrence of each n-gram that predicts a token, for the counts below it.
        at = np.flatnonzero(within)
        counts = np.bincount(numbers[order][at], minlength=len(keys[-1]))
        for length in range(order, 0, -1):
            self._orders.insert(0, self._order(keys[length - 1], counts, length, keys))
            _, first = np.unique(numbers[length][at], return_index=True)
            at = at[first]
            counts = np.bincount(numbers[length - 1][at], minlength=len(keys[max(length - 2, 0)]))

    def _stream(self, documents: Iterable[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """All documents with tokens of number V before each, and which tokens are theirs."""
        apart = [self.vocabulary] * (self.order - 1)
        parts = [np.asarray([*apart, *ids], dtype=np.int64) for ids in documents]
        tokens = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        return tokens, tokens < self.vocabulary

    def _keys(self, before: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Number of the n-gram that ends one token earlier, and the token, as one integer."""
        history = np.concatenate([np.zeros(min(1, len(before)), dtype=np.int64), before[:-1]])
        return np.where(history == UNSEEN, UNSEEN, history * (self.vocabulary + 1) + tokens)

    def _order(
        self, keys: np.ndarray, counts: np.ndarray, length: int, all_keys: Sequence[np.ndarray]
    ) -> _Order:
        discounts = discounts_of(counts)
        taken = np.where(counts > 0, discounts[np.minimum(counts, 3)], 0.0)
        history = keys // (self.vocabulary + 1)
        many = len(all_keys[length - 2]) if length > 1 else 1
        totals = np.bincount(history, weights=counts, minlength=many)
        mass = np.bincount(history, weights=taken, minlength=many)
        spared = np.divide(mass, totals, out=np.ones(many), where=totals > 0)
        return _Order(keys, counts - taken, totals, spared)

    def log2(self, documents: Iterable[Sequence[int]]) -> list[np.ndarray]:
        """log2 p of every token of each document."""
        documents = [list(ids) for ids in documents]
        tokens, within = self._stream(documents)
        p = np.full(len(tokens), 1.0 / self.vocabulary)
        before = np.zeros(len(tokens), dtype=np.int64)
        for order in self._orders:
            keys = self._keys(before, tokens)
            number = _find(order.keys, keys)
            history = np.where(keys == UNSEEN, 0, keys // (self.vocabulary + 1))
            total = np.where(keys == UNSEEN, 0.0, order.totals[history])
            own = np.where(number == UNSEEN, 0.0, order.left[number])
            seen = total > 0
            p = np.where(seen, own / np.where(seen, total, 1.0) + order.spared[history] * p, p)
            before = number
        lengths = np.cumsum([len(ids) for ids in documents])[:-1]
        return np.split(np.log2(p[within]), lengths)


def discounts_of(counts: np.ndarray) -> np.ndarray:
    """[0, D_1, D_2, D_3]."""
    n = [float((counts == i).sum()) for i in range(1, 5)]
    halves = np.array([0.0, 0.5, 1.0, 1.5])
    if not all(n):
        return halves
    y = n[0] / (n[0] + 2 * n[1])
    found = np.array([0.0, *(i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))])
    return found if (found[1:] > 0).all() else halves


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places in the sorted `keys`, UNSEEN where there is none."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, UNSEEN)
