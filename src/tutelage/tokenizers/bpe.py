"""Byte-level BPE, as of GPT-2: every text is bytes, and frequent neighbours become one token.

Words are cut by GPT-2's pattern, a space going with the word behind it; each byte is written as a
printable character (`Ġ` is a space), and from the 256 bytes upwards the most frequent pair of
neighbours is merged again and again (Sennrich et al. 2016; Radford et al. 2019). Nothing is ever
unknown, and every text comes back as it was.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from tutelage.text.byte_alphabet import byte_alphabet
from tutelage.text.byte_level import END_OF_TEXT
from tutelage.text.tokenizer import SpecialTokens
from tutelage.tokenizers._kind import FEWEST, Base, Cut, Kind, Words

Pair = tuple[str, str]


def _base(texts: Sequence[str]) -> Base:
    return Base(tuple(sorted(byte_alphabet().values())), "for the bytes")


def _learn(texts: Iterable[str], size: int, control: Sequence[str], base: Base) -> Any:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=FEWEST,
        special_tokens=list(control),
        initial_alphabet=list(base.tokens),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _grow(model: Mapping[str, Any], words: Words, cut: Cut, count: int) -> dict[str, Any]:
    """Go on merging where the vocabulary stopped: new merges come after all it has."""
    vocabulary = dict(model["vocab"])
    # Of SentencePiece's BPE: spelled otherwise than what they stand for, so no spelling of a merge.
    apart = {model.get("unk_token"), *(f"<0x{byte:02X}>" for byte in range(256))}
    merges = further_merges(words, cut, count, frozenset(vocabulary), frozenset(apart))
    first = max(vocabulary.values()) + 1
    vocabulary |= {left + right: first + n for n, (left, right) in enumerate(merges)}
    return {**model, "vocab": vocabulary, "merges": [*model["merges"], *map(list, merges)]}


def further_merges(
    words: Words,
    cut: Cut,
    count: int,
    known: frozenset[str],
    apart: frozenset[str | None] = frozenset(),
) -> list[Pair]:
    """The next `count` merges of the words, which `cut` cuts as the merges so far do. Tokens of
    `apart` are never merged.

    A pair that spells a known token is left alone: merges of the known ones might then follow, and
    the words would be cut otherwise than counted here.
    """
    pieces = {word: cut(word) for word in sorted(words)}
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)
    for word, cuts in pieces.items():
        _count(cuts, words[word], counts)
        for pair in pairwise(cuts):
            where[pair].add(word)
    heap = [(-times, pair) for pair, times in counts.items()]
    heapq.heapify(heap)
    merges: list[Pair] = []
    spelled = set(known)
    while heap and len(merges) < count:
        times, pair = heapq.heappop(heap)
        if -times != counts[pair] or -times < FEWEST:
            continue  # an old entry of the heap, or too rare
        if "".join(pair) in spelled or not apart.isdisjoint(pair):
            continue
        merges.append(pair)
        spelled.add("".join(pair))
        changed: set[Pair] = set()
        for word in where.pop(pair):
            _count(pieces[word], -words[word], counts)
            changed.update(pairwise(pieces[word]))
            pieces[word] = merged(pieces[word], pair)
            _count(pieces[word], words[word], counts)
            for other in pairwise(pieces[word]):
                where[other].add(word)
                changed.add(other)
        for other in changed:
            heapq.heappush(heap, (-counts[other], other))
    return merges


def merged(pieces: Sequence[str], pair: Pair) -> list[str]:
    """The pieces with every occurrence of the pair made one, from the left."""
    result: list[str] = []
    at = 0
    while at < len(pieces):
        width = 2 if tuple(pieces[at : at + 2]) == pair else 1
        result.append("".join(pieces[at : at + width]))
        at += width
    return result


def _count(pieces: Sequence[str], times: int, counts: Counter[Pair]) -> None:
    for pair in pairwise(pieces):
        counts[pair] += times


KIND = Kind(
    name="bpe",
    model="BPE",
    special=SpecialTokens(eos=END_OF_TEXT, pad=END_OF_TEXT),
    control=(END_OF_TEXT,),
    sentinels=0,
    base=_base,
    learn=_learn,
    grow=_grow,
)
