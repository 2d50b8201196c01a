"""A shuffled order of 0 .. n-1 in which every place can be computed alone.

A Feistel network turns any function of half the bits into a permutation of all of them (Luby and
Rackoff 1988). It permutes the next power of four; a value beyond n is permuted again until it falls
below, which keeps it a permutation of 0 .. n-1 (Black and Rogaway 2002, cycle walking) and takes
less than four turns on average. So the order of a billion windows needs no memory, and no place in
it depends on having been at the places before.
"""

from __future__ import annotations

import functools
import hashlib

ROUNDS = 4


def permuted(place: int, n: int, key: str) -> int:
    """Which of 0 .. n-1 stands at `place` in the order of this key. Raises IndexError outside."""
    if not 0 <= place < n:
        raise IndexError(f"{place} of {n}")
    half = max((n - 1).bit_length() + 1, 2) // 2
    value = _network(place, half, key)
    while value >= n:
        value = _network(value, half, key)
    return value


def _network(value: int, half: int, key: str) -> int:
    mask = (1 << half) - 1
    left, right = value >> half, value & mask
    for constant in _keys(key):
        left, right = right, left ^ (_mixed(right, constant) & mask)
    return left << half | right


@functools.lru_cache(maxsize=256)
def _keys(key: str) -> tuple[int, ...]:
    digest = hashlib.sha256(key.encode()).digest()
    return tuple(int.from_bytes(digest[8 * n : 8 * n + 8]) for n in range(ROUNDS))


def _mixed(value: int, constant: int) -> int:
    """A 64-bit hash: the finaliser of splitmix64 (Steele et al. 2014)."""
    word = 2**64 - 1
    value = (value + constant) & word
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & word
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & word
    return value ^ value >> 31
