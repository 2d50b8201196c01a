"""Duplicates: all exact ones, almost all near ones, and nothing else; against a comparison of all
pairs."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from tests.unit.corpus.documents import prose
from tests.unit.corpus.measured import removed
from tests.unit.corpus.planted import _edited
from tutelage.corpus.dedup import RECALL, Exact, Near, bands_for, caught, similarity
from tutelage.corpus.documents import Document, text_document
from tutelage.data.near_duplicates import jaccard, shingles
from tutelage.errors import ConfigError

pytest.importorskip("rensa")


def documents(texts: list[str]) -> list[Document]:
    return [text_document(str(n), text) for n, text in enumerate(texts)]


def all_pairs(texts: list[str], threshold: float) -> set[str]:
    """What is left out where every text is compared with every kept one."""
    kept: list[frozenset[str]] = []
    out = set()
    for number, text in enumerate(texts):
        own = shingles(text, 5)
        if any(jaccard(own, other) >= threshold - 1e-9 for other in kept):
            out.add(str(number))
        else:
            kept.append(own)
    return out


def edited(count: int, most: int, words: int = 150) -> list[str]:
    """Texts, and after all of them copies with up to so many edits each."""
    drawn = random.Random(count)
    originals = [prose(n, words) for n in range(count)]
    copies = [_edited(drawn, text, drawn.randrange(most + 1)) for text in originals]
    return originals + copies


@pytest.mark.parametrize("threshold", [0.6, 0.8, 0.9])
def test_near_duplicates_are_those_of_a_comparison_of_all_pairs(threshold: float) -> None:
    texts = edited(120, 20)
    truth = all_pairs(texts, threshold)
    found = removed(Near(threshold), documents(texts))
    assert 10 < len(truth) < 110
    # A missed duplicate is kept, and may take copies of its own with it: never the other way.
    assert len(found - truth) == 0
    assert len(found & truth) / len(truth) >= 0.98


def test_bands_catch_what_they_promise() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.9, 1.0):
        rows, bands = bands_for(threshold)
        assert caught(threshold, rows, bands) >= RECALL and rows * bands <= 128
    assert caught(0.8, 6, 18) == pytest.approx(1 - (1 - 0.8**6) ** 18)
    for threshold in (0.0, 0.49, 1.01):
        with pytest.raises(ConfigError) as refused:
            bands_for(threshold)
        assert refused.value.field == "--threshold"


def test_exact_duplicates_differ_in_nothing_that_is_said() -> None:
    texts = ["It costs 3 euros.", "it  costs\n3 EUROS", "It costs 4 euros.", '"It costs 3 euros."']
    assert removed(Exact(), documents(texts)) == {"1", "3"}


def test_the_first_is_kept_and_chains_do_not_eat_on() -> None:
    drawn = random.Random(0)
    chain = [prose(0, 200)]
    for _ in range(12):
        chain.append(_edited(drawn, chain[-1], 2))
    found = removed(Near(), documents(chain))
    assert found == all_pairs(chain, 0.8)
    assert "0" not in found and len(found) < 12, "what has drifted far enough is kept"


def test_the_same_corpus_gives_the_same_answer() -> None:
    texts = edited(60, 6)
    assert removed(Near(), documents(texts)) == removed(Near(), documents(texts))


def test_similarity_is_jaccards() -> None:
    a, b = np.array([1, 2, 3, 5], "u8"), np.array([2, 3, 4], "u8")
    assert similarity(a, b) == 2 / 5 and similarity(a, a) == 1


def test_short_texts_are_compared_as_they_are() -> None:
    texts = ["One two.", "one two", "One three.", "?!", "?!", "..."]
    assert removed(Near(), documents(texts)) == {"1", "4"}


def test_a_missing_library_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(ConfigError) as caught_error:
        Near()
    assert caught_error.value.hint == "pip install 'tutelage[corpus]'"
