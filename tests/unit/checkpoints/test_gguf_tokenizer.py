"""Tokenizers out of GGUF metadata, against naive implementations of both kinds of BPE."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import regex

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.gguf_tokenizer import KNOWN_PRE, gguf_tokenizer
from tutelage.errors import SourceError
from tutelage.text.byte_alphabet import byte_alphabet
from tutelage.text.tokenizer import Tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog. été à la plage, 12345 <b>bold</b>",
    "def f(x):\n    return x + 1  # naïve café €100 日本語 русский 😀👩‍👩‍👧",
    "I'LL don't we've  HELLO's\r\n\r\n\ttabs   and    spaces   ",
    "3.14159 ١٢٣ x²  ½ a1b22c333d4444/e//",
    "CamelCaseWords ÀÉ Straße ǅ ʰ mixedCASE!!\n\n??",
    "",
    " ",
]
# Cutting of words, as llama.cpp's llama-vocab.cpp writes it (numbers of smollm alone, first).
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
}


def words(text: str, patterns: list[str]) -> list[str]:
    """Each pattern cuts every piece into matches and what lies between them."""
    pieces = [text]
    for pattern in patterns:
        cut = []
        for piece in pieces:
            at = 0
            for match in regex.finditer(pattern, piece):
                cut += [piece[at : match.start()], match[0]]
                at = match.end()
            cut.append(piece[at:])
        pieces = [piece for piece in cut if piece]
    return pieces


def merged(symbols: list[str], rank: dict[tuple[str, str], float]) -> list[str]:
    """Join the best-ranked neighbours, the leftmost first, until none can be joined."""
    while True:
        pairs = [(rank[pair], at) for at, pair in enumerate(itertools.pairwise(symbols))
                 if pair in rank]  # fmt: skip
        if not pairs:
            return symbols
        at = min(pairs)[1]
        symbols = [*symbols[:at], symbols[at] + symbols[at + 1], *symbols[at + 2 :]]


@pytest.mark.parametrize("pre", WORDS)
def test_byte_level_ids_equal_naive_ones(pre: str) -> None:
    metadata = tiny.tokenizer_metadata() | {"tokenizer.ggml.pre": pre}
    tokenizer = gguf_tokenizer(metadata, Path("t.gguf"), None)
    alphabet = byte_alphabet()
    ids = {token: id for id, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    rank = {
        tuple(pair.split(" ")): float(at)
        for at, pair in enumerate(metadata["tokenizer.ggml.merges"])
    }
    for text in TEXTS:
        expected = []
        for word in words(text, WORDS[pre]):
            spelled = "".join(alphabet[byte] for byte in word.encode())
            whole = pre == "llama-bpe" and spelled in ids  # its words are looked up first
            expected += [spelled] if whole else merged(list(spelled), rank)
        assert tokenizer.encode(text) == [ids[token] for token in expected], text
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("pre", KNOWN_PRE)
def test_every_known_way_of_cutting_loses_nothing(pre: str) -> None:
    metadata = tiny.tokenizer_metadata() | {"tokenizer.ggml.pre": pre}
    tokenizer = gguf_tokenizer(metadata, Path("t.gguf"), None)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_stand_alone_only_where_they_should() -> None:
    def count(pre: str) -> int:
        metadata = tiny.tokenizer_metadata() | {"tokenizer.ggml.pre": pre}
        return len(gguf_tokenizer(metadata, Path("t.gguf"), None).encode("12345"))

    assert count("smollm") == 5
    assert count("gpt-2") < 5


SENTENCES = ["▁the", "▁quick", "▁", "the", "th", "he", "t", "h", "e", "qu", "ick", "▁qu", "ic", "i",
             "q", "u", "c", "k", "▁t", "▁th", "ck", "uic", "b", "r", "o", "br", "ow", "n", "w",
             "▁b", "▁br", "own", "▁brown", "▁▁"]  # fmt: skip


def sentencepiece(**changes: Any) -> tuple[dict[str, Any], Tokenizer]:
    """A vocabulary of SentencePiece's form, its scores shuffled."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *SENTENCES]
    scores = [0.0] * 259 + [-float(at) for at in range(len(SENTENCES))]
    shuffled = scores[259:]
    random.Random(0).shuffle(shuffled)
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores[:259] + shuffled,
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * len(SENTENCES)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **changes,
    }
    return metadata, gguf_tokenizer(metadata, Path("t.gguf"), None)


@pytest.mark.parametrize("prepended", [True, False])
def test_sentencepiece_ids_equal_naive_ones(prepended: bool) -> None:
    metadata, tokenizer = sentencepiece(**{"tokenizer.ggml.add_space_prefix": prepended})
    tokens = metadata["tokenizer.ggml.tokens"]
    ids = {token: id for id, token in enumerate(tokens)}
    scores = dict(zip(tokens, metadata["tokenizer.ggml.scores"], strict=True))
    rank = {
        (token[:cut], token[cut:]): -scores[token]
        for token in SENTENCES
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    }
    for text in ("the quick brown", "thethe  quickbrown", "the é€😀 quick\n", "x<s>", "brown the"):
        spelled = (("▁" if prepended else "") + text).replace(" ", "▁")
        expected: list[str] = []
        for symbol in merged(list(spelled), rank):
            known = symbol in ids
            expected += [symbol] if known else [f"<0x{byte:02X}>" for byte in symbol.encode()]
        assert tokenizer.encode_plain(text) == [ids[token] for token in expected], text
        assert tokenizer.decode(tokenizer.encode_plain(text)) == text


def test_sentencepiece_starts_texts_unless_told_otherwise() -> None:
    assert sentencepiece()[1].prefix == (1,)
    assert sentencepiece(**{"tokenizer.ggml.add_bos_token": False})[1].prefix == ()
    assert sentencepiece()[1].eos_ids == {2}
    assert sentencepiece()[1].encode("the</s>")[-1] == 2


def test_byte_level_starts_texts_only_when_told() -> None:
    metadata = tiny.tokenizer_metadata()
    assert gguf_tokenizer(metadata, Path("t.gguf"), None).prefix == ()
    metadata["tokenizer.ggml.add_bos_token"] = True
    assert gguf_tokenizer(metadata, Path("t.gguf"), None).prefix == (tiny.TOKENIZER.bos_id,)
    del metadata["tokenizer.ggml.add_bos_token"]
    metadata["tokenizer.ggml.pre"] = "llama-bpe"
    assert gguf_tokenizer(metadata, Path("t.gguf"), None).prefix == (tiny.TOKENIZER.bos_id,)


def test_scores_are_needed_for_every_token() -> None:
    with pytest.raises(SourceError) as caught:
        sentencepiece(**{"tokenizer.ggml.scores": [0.0]})
    assert caught.value.field == "tokenizer.ggml.scores"


def test_an_end_of_turn_beside_the_end_token_ends_too() -> None:
    turn = tiny.TOKENIZER.id("</s>")
    metadata = tiny.tokenizer_metadata() | {"tokenizer.ggml.eot_token_id": turn}
    tokenizer = gguf_tokenizer(metadata, Path("t.gguf"), None)
    assert tokenizer.eos_ids == {tiny.TOKENIZER.eos_id, turn}
