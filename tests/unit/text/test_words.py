"""Which tokens continue a word, in vocabularies of each kind."""

from __future__ import annotations

import json

from tests.unit.text.test_tokenizer import word_pieces
from tests.unit.text.vocabularies import byte_fallback_bpe, byte_level_bpe
from tutelage.text.byte_level import byte_tokenizer, encoder_tokenizer
from tutelage.text.tokenizer import Tokenizer
from tutelage.text.words import continuations


def begins(tokenizer: Tokenizer, text: str) -> str:
    """The text with a bar before each token that begins a word."""
    inside, ids = continuations(tokenizer), tokenizer.encode_plain(text)
    pieces = [(tokenizer.decode([id]), id in inside) for id in ids]
    return "".join(piece if goes_on else f"|{piece}" for piece, goes_on in pieces)


def test_word_pieces_are_marked() -> None:
    assert continuations(word_pieces()) == {5}


def test_bytes_and_their_merges() -> None:
    """A space is written before the word it belongs to; other signs stand alone."""
    text = "The quick brown-fox, isn't 12345 x"
    for tokenizer in (byte_tokenizer(), encoder_tokenizer(), byte_level_bpe()):
        assert begins(tokenizer, f" {text}") == "| The| quick| brown|-fox|,| isn|'t| 12345| x"
        assert continuations(tokenizer).isdisjoint(tokenizer.control_ids)


def test_added_tokens_are_spelled_as_text() -> None:
    document = json.loads(byte_tokenizer().json)
    plain = {**document["added_tokens"][0], "special": False}
    more = [{**plain, "id": 259 + n, "content": text} for n, text in enumerate((" new", "日本"))]
    document["added_tokens"] += more
    inside = continuations(Tokenizer(json.dumps(document), byte_tokenizer().special))
    assert (259 in inside, 260 in inside) == (False, True)


def test_letters_of_several_bytes_are_inside() -> None:
    tokenizer = byte_tokenizer()
    inside = continuations(tokenizer)
    assert [id in inside for id in tokenizer.encode_plain(" été,")] == [False, *[True] * 5, False]


def test_pieces_with_a_sign_for_the_space() -> None:
    tokenizer = byte_fallback_bpe()
    inside = continuations(tokenizer)
    starts = {tokenizer.token(id) for id in range(tokenizer.vocabulary) if id not in inside}
    assert {"▁", ",", "<0x41>", "<s>"} <= starts
    assert {token for token in starts if token and token[0] == "▁"} > {"▁"}
    assert {"i", "23"} & starts == set()
