"""Ratios of a tokenizer on text equal counts made by hand."""

from __future__ import annotations

import pytest

from tests.unit.tokenizers.corpora import KINDS, learnt, texts
from tutelage.text.byte_level import byte_tokenizer
from tutelage.tokenizers.measure import Fit, measure


def test_bytes_are_counted_by_hand() -> None:
    # "né": n, and two bytes of é. "x y": three bytes. Words: né, x, y.
    fit = measure(byte_tokenizer(), ["né", "x y"])
    assert fit == Fit(texts=2, words=3, bytes=6, tokens=6, unknown=0, fallback=2)
    assert (fit.fertility, fit.bytes_per_token) == (2.0, 1.0)
    assert fit.coverage == pytest.approx(4 / 6)
    assert fit.as_json()["fallback"] == pytest.approx(2 / 6)


def test_control_tokens_in_data_are_text() -> None:
    assert measure(byte_tokenizer(), ["<|endoftext|>"]).tokens == 13


def test_what_a_kind_has_no_token_for_is_counted_as_its_own() -> None:
    bpe, wordpiece, unigram = (measure(learnt(kind).tokenizer, ["is 語 is"]) for kind in KINDS)
    assert (bpe.unknown, bpe.fallback) == (0, 3)
    assert (wordpiece.tokens, wordpiece.unknown, wordpiece.fallback) == (3, 1, 0)
    assert (unigram.unknown, unigram.fallback) == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_ratios_follow_from_the_tokens(kind: str) -> None:
    tokenizer, some = learnt(kind).tokenizer, texts()[:5]
    fit = measure(tokenizer, some)
    tokens = sum(len(tokenizer.encode_plain(text)) for text in some)
    assert fit.fertility == tokens / sum(len(text.split()) for text in some)
    assert fit.bytes_per_token == sum(len(text.encode()) for text in some) / tokens
    assert 2 < fit.bytes_per_token < 6
    assert fit.coverage > 0.99


def test_nothing_measured_is_no_number_out_of_nothing() -> None:
    fit = measure(byte_tokenizer(), [])
    assert (fit.fertility, fit.bytes_per_token, fit.coverage) == (0.0, 0.0, 1.0)
