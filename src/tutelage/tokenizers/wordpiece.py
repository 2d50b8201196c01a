"""WordPiece, as of BERT: a word is the longest tokens that spell it, from the left.

White space and punctuation part the words and are lost or set apart; a token that continues a word
begins with `##`. A word that no tokens spell becomes [UNK] as a whole (Schuster and Nakajima 2012;
Devlin et al. 2019). Case and accents are kept, as in bert-base-cased. Text does not come back as it
was: spaces are guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from tutelage.text.tokenizer import SpecialTokens
from tutelage.tokenizers._alphabet import ASCII, alphabet, only
from tutelage.tokenizers._kind import FEWEST, Base, Cut, Kind, Words, split_words

SPECIAL = SpecialTokens(pad="[PAD]", unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]")
CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 100
"""Characters; a longer word is unknown."""


def _base(texts: Sequence[str]) -> Base:
    """Each character as a word's beginning, and as its continuation where it occurs so."""
    found = alphabet(texts)
    untrained = _untrained()
    trainer = trainers.WordPieceTrainer(vocab_size=0, special_tokens=[], show_progress=False)
    untrained.train_from_iterator(only(texts, found.kept), trainer)
    return Base(
        tokens=tuple(sorted(untrained.get_vocab().keys() | ASCII)),
        what="for the characters, at the beginning and inside of words",
        characters=found.kept,
        notes=found.note("words with them become [UNK]"),
    )


def _learn(texts: Iterable[str], size: int, control: Sequence[str], base: Base) -> Any:
    assert base.characters is not None
    backend = _untrained()
    # The library numbers the characters with ## as a hash map yields them, other in each process,
    # and breaks ties between merges by these numbers. Named beforehand, their order is ours.
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=FEWEST,
        special_tokens=[*control, *base.tokens],
        show_progress=False,
    )
    backend.train_from_iterator(only(texts, base.characters), trainer)
    document = json.loads(backend.to_str())
    added = [token for token in document["added_tokens"] if token["content"] in control]
    trained = Backend.from_str(json.dumps({**document, "added_tokens": added}))
    ids = [(name, trained.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return trained


def _untrained() -> Any:
    backend = Backend(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _grow(model: Mapping[str, Any], words: Words, cut: Cut, count: int) -> dict[str, Any]:
    """Whole words: the longest token wins, so a word that is one is never cut."""
    vocabulary = dict(model["vocab"])
    longest = model["max_input_chars_per_word"]
    short = {word: times for word, times in words.items() if len(word) <= longest}
    new = split_words(short, cut, count, model["unk_token"])
    first = max(vocabulary.values()) + 1
    return {**model, "vocab": vocabulary | {word: first + n for n, word in enumerate(new)}}


KIND = Kind(
    name="wordpiece",
    model="WordPiece",
    special=SPECIAL,
    control=CONTROL,
    sentinels=0,
    base=_base,
    learn=_learn,
    grow=_grow,
)
