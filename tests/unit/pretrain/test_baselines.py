"""Compressors that have read the training text before."""

from __future__ import annotations

import random

from tutelage.pretrain.baselines import gzip_bits, xz_bits


def words(count: int, seed: int) -> bytes:
    drawn = random.Random(seed)
    return " ".join(str(drawn.randrange(10**6)) for _ in range(count)).encode()


def test_a_repeated_text_costs_xz_nothing_however_far_back() -> None:
    text = words(3_000, 0)
    far = text + words(300_000, 1)
    assert len(far) > 2**20
    assert xz_bits(far, text) < 0.05
    assert gzip_bits(far, text) > 3, "gzip looks back over 32 KiB alone"
    assert gzip_bits(text, text[-8_000:]) < 0.2


def test_new_text_costs_what_it_holds() -> None:
    """Six digits of a number and a space: 20 bits in about 7 bytes."""
    fresh = words(2_000, 2)
    for bits in (gzip_bits, xz_bits):
        assert 20 / 7 < bits(words(3_000, 3), fresh) < 4.5
