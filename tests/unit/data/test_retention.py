"""Texts for measuring forgetting: prose of the asked length, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.data.retention import retention
from tutelage.errors import DataError


def test_the_default_is_prose_and_says_what_it_is() -> None:
    found = retention(None, 64, 0)
    assert len(set(found.texts)) == 64
    for text in found.texts:
        assert 60 <= len(text.split()) <= 120
        assert text.endswith((".", "!", "?", ")", '"')), text
        assert ">>>" not in text and "::=" not in text
    assert found.name == "builtin:stdlib-docs"
    assert "Python" in found.description and "pretraining" in found.description


def test_seeds_choose() -> None:
    assert retention(None, 32, 1) == retention(None, 32, 1)
    assert set(retention(None, 32, 1).texts) != set(retention(None, 32, 2).texts)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    sentences = [f"Sentence number {n} tells us of the year {n} in ten words." for n in range(100)]
    path = tmp_path / "own.txt"
    path.write_text("\n\n".join(" ".join(sentences[n : n + 4]) for n in range(0, 100, 4)))
    found = retention(str(path), 5, 0)
    assert found.name == str(path) and str(path) in found.description
    for text in found.texts:
        first = text.split(".")[0] + "."
        start = sentences.index(first)
        count = text.count(".")
        assert text == " ".join(sentences[start : start + count])
    with pytest.raises(DataError) as caught:
        retention(str(path), 500, 0)
    assert caught.value.field == str(path)
