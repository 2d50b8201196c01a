"""Unigram, as of T5: of all ways to cut a word, the most probable, its tokens drawn independently.

Starting from all frequent substrings, the least missed are given up until the vocabulary is small
enough (Kudo 2018). A space is written `▁` and goes with the word behind it; letters, digits and
other signs make words of their own. A character without a token is spelled in bytes (`<0xE2>`), so
text comes back as it was, but for `▁` itself, which comes back as a space.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import log
from typing import Any

from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend

from tutelage.text.tokenizer import SpecialTokens
from tutelage.tokenizers._alphabet import GAP, alphabet, only
from tutelage.tokenizers._kind import FEWEST, Base, Cut, Kind, Words, split_words

SPECIAL = SpecialTokens(pad="<pad>", eos="</s>", unk="<unk>")
CONTROL = ("<pad>", "</s>", "<unk>")
SPACE = "▁"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
WORDS = r"▁?\p{L}[\p{L}\p{M}]*|▁?\p{N}+|▁?[^\s\p{L}\p{N}▁]+|▁+(?=▁\S)|▁+|\s+"
"""GPT-2's words, with the spaces already written as ▁."""
LONGEST = 16
"""Characters of the longest piece."""
MARKS = range(0xF0000, 0xFFFFE)
"""Characters of a private plane, which stand in no text that is learnt from."""
MARKED = rf"\A[\s\S]{{1,{LONGEST}}}[{chr(MARKS[0])}-{chr(MARKS[-1])}]\z"
"""A word with a mark behind it, alone in its text."""
DIGITS = 4
"""Decimals of a log-probability. The library adds in the order of a hash map, so what it prints
differs from process to process, in the fourteenth place."""
STEP = 1e-4
"""What the library adds to the lowest score for each further character it puts back."""

Piece = tuple[str, float]


def _base(texts: Sequence[str]) -> Base:
    found = alphabet(texts, without=frozenset(map(chr, MARKS)))
    spelled = {SPACE, GAP} | {SPACE if c == " " else c for c in found.kept}
    return Base(
        tokens=(*BYTES, *sorted(spelled)),
        what="for the bytes and the characters",
        characters=found.kept,
        notes=found.note("they are spelled in bytes"),
    )


def _learn(texts: Iterable[str], size: int, control: Sequence[str], base: Base) -> Any:
    assert base.characters is not None
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = _cutting(WORDS)
    found = list(only(texts, base.characters))
    words = _words(backend.pre_tokenizer, found)
    marked = marked_words(words, size)
    marks = {word[-1] for word in marked}
    characters = set(base.tokens) - set(BYTES)
    unseen = characters.difference(*words)
    backend.pre_tokenizer = _cutting(f"{MARKED}|{WORDS}")
    trainer = trainers.UnigramTrainer(
        vocab_size=size - len(BYTES) - len(unseen) + len(marks),
        special_tokens=list(control),
        unk_token=SPECIAL.unk,
        max_piece_length=LONGEST,
        show_progress=False,
    )
    backend.train_from_iterator(chain(found, marked), trainer)
    document = json.loads(backend.to_str())
    learnt = {
        piece: score
        for piece, score in document["model"]["vocab"]
        if piece not in control and marks.isdisjoint(piece)
    }
    pieces = settled(learnt, characters, size - len(control) - len(BYTES))
    vocabulary = [(name, 0.0) for name in control] + with_bytes(pieces)
    document["model"] |= {"vocab": vocabulary, "byte_fallback": True}
    return _finished(Backend.from_str(json.dumps(document)))


def _finished(backend: Any) -> Any:
    backend.pre_tokenizer = _cutting(WORDS)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("</s>", backend.token_to_id("</s>"))],
    )
    return backend


def _cutting(words: str) -> Any:
    """Spaces written as ▁, then cut into what the pattern matches."""
    spaces = pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=False)
    return pre_tokenizers.Sequence([spaces, pre_tokenizers.Split(Regex(words), "isolated")])


def _words(cutting: Any, texts: Iterable[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in cutting.pre_tokenize_str(text))
    return words


def marked_words(words: Words, count: int) -> list[str]:
    """The `count` most frequent words that may be pieces, each with a mark behind it.

    The library begins from substrings of two different words or more: a word that is part of no
    other could never be a piece, however frequent (in English `▁are`). Seen once more with a mark
    behind it, each is part of two. Words that end alike have different marks, so that no mark is
    part of a substring that repeats.
    """
    fitting = [w for w, n in words.items() if n >= FEWEST and 2 <= len(w) <= LONGEST]
    used: Counter[str] = Counter()
    marked = []
    for word in sorted(fitting, key=lambda w: (-words[w], w))[:count]:
        if used[word[-1]] < len(MARKS):
            marked.append(word + chr(MARKS[used[word[-1]]]))
            used[word[-1]] += 1
    return marked


def settled(learnt: Mapping[str, float], characters: Iterable[str], room: int) -> list[Piece]:
    """All the characters and the best of the longer pieces, `room` at most, most probable first;
    what follows from the order of a hash map is taken out.

    Scores are rounded. Characters that training gave up and that were put back have the lowest
    score and each a step more, in any order: all of them get the lowest, as those never seen. Where
    the characters fill the vocabulary, the library keeps every longer piece too.
    """
    lowest = min(learnt.values())
    likely = lowest + STEP * (sum(len(piece) == 1 for piece in learnt) + 1)
    scores = {character: learnt.get(character, lowest) for character in characters}
    single = [(one, score if score >= likely else lowest) for one, score in scores.items()]
    longer = _best((piece, score) for piece, score in learnt.items() if len(piece) > 1)
    return _best([*single, *longer[: room - len(single)]])


def _best(pieces: Iterable[Piece]) -> list[Piece]:
    rounded = ((piece, round(score, DIGITS)) for piece, score in pieces)
    return sorted(rounded, key=lambda one: (-one[1], one[0]))


def with_bytes(pieces: Sequence[Piece]) -> list[Piece]:
    """Bytes before the pieces; no word holds their spelling, so their score never counts."""
    lowest = min(score for _, score in pieces)
    return [*((byte, lowest) for byte in BYTES), *pieces]


def _grow(model: Mapping[str, Any], words: Words, cut: Cut, count: int) -> dict[str, Any]:
    """Whole words, each at least a little more probable than the tokens it is cut into."""
    scores = dict(map(tuple, model["vocab"]))
    unknown = None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]
    total = sum(words.values())
    pieces = []
    for word in split_words(words, cut, count, unknown):
        apart = sum(scores.get(piece, 0.0) for piece in cut(word))
        score = max(log(words[word] / total), apart + 10**-DIGITS)
        pieces.append([word, round(min(score, 0.0), DIGITS)])
    return {**model, "vocab": [*model["vocab"], *pieces]}


KIND = Kind(
    name="unigram",
    model="Unigram",
    special=SPECIAL,
    control=CONTROL,
    sentinels=100,
    base=_base,
    learn=_learn,
    grow=_grow,
)
