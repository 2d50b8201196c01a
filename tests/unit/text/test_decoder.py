"""Streams of text: nothing lost, nothing cut inside a character, nothing held without bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.text.vocabularies import byte_fallback_bpe, byte_level_bpe
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.tokenizer import Tokenizer

FALLBACK = byte_fallback_bpe()
ALL = [byte_tokenizer(), byte_level_bpe(), FALLBACK]

texts = st.text(
    alphabet=st.one_of(
        st.characters(exclude_categories=["Cs"]), st.sampled_from("é€😀👩‍👧 \n\ufffd日")
    ),
    max_size=30,
)


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = tokenizer.decoder()
    return [*(decoder.push(id) for id in ids), decoder.flush()]


@pytest.mark.parametrize("tokenizer", ALL)
@given(text=texts)
@settings(max_examples=80, deadline=None)
def test_pieces_of_text_add_up_to_it(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode_plain(text)
    pieces = stream(tokenizer, ids)
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("tokenizer", ALL)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_ids_stream_to_their_decoding(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocabulary - 1), max_size=40))
    whole = tokenizer.decode(ids)
    streamed = "".join(stream(tokenizer, ids))
    if tokenizer is FALLBACK and "\ufffd" in whole:
        # the library turns every byte of a run with one bad byte into U+FFFD, known only at its end
        assert "\ufffd" in streamed
    else:
        assert streamed == whole


@given(raw=st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_stream_to_their_decoding(raw: bytes) -> None:
    assert "".join(stream(ALL[0], list(raw))) == raw.decode(errors="replace")


def test_bytes_that_are_no_text_are_not_held_back() -> None:
    pieces = stream(ALL[0], [0x80] * 1000)
    assert pieces[-1].count("\ufffd") <= 8
    assert "".join(pieces) == "\ufffd" * 1000


def test_control_tokens_have_no_text_and_do_not_disturb() -> None:
    tokenizer = ALL[0]
    euro = list("€".encode())
    assert stream(tokenizer, [256, euro[0], 258, *euro[1:], 97]) == ["", "", "", "", "€", "a", ""]


def test_flush_shows_an_unfinished_character_and_starts_anew() -> None:
    decoder = ALL[0].decoder()
    assert decoder.push(0xE2) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.push(97) == "a"
    assert decoder.flush() == ""
