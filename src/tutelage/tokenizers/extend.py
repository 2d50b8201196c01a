"""A vocabulary extended for a domain: words that it cuts apart become tokens of their own.

All ids stay what they were; the new ones come behind them. What is learnt, and how, is the kind's
own: merges for BPE, whole words for WordPiece and Unigram.

    extended = extend(base, texts, 1000)
    pieces = new_pieces(base, extended)      # new id -> ids of the pieces it was cut into
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as Backend

from tutelage.errors import ConfigError, DataError, SourceError
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers import KINDS
from tutelage.tokenizers._kind import Kind

WORDS = r"[ ▁]?\p{L}[\p{L}\p{M}]*"
"""Words of letters, with a space in front, for tokenizers that cut text into none."""
Pieces = Mapping[int, tuple[int, ...]]
"""New id -> ids of the pieces that the tokenizer without it cuts its text into."""


def extend(base: Tokenizer, texts: Iterable[str], count: int) -> Tokenizer:
    """`base` with at most `count` tokens more, for words of letters that occur in the texts twice
    or more. The same texts give the same tokens.

    Raises ConfigError for a count below 1, SourceError for a tokenizer of no known kind, DataError
    where it cuts no word of the texts.
    """
    if count < 1:
        raise ConfigError(
            "no tokens were asked for", field="--tokens", got=count, expected="1 or more"
        )
    backend = Backend.from_str(base.json)
    document = json.loads(backend.to_str())
    kind = _kind_of(document["model"]["type"])
    model = _with_added(document["model"], backend)
    grown = kind.grow(model, domain_words(backend, texts), _cut(backend), count)
    if len(grown["vocab"]) == len(model["vocab"]):
        raise DataError(
            "the texts hold no word that the tokenizer cuts apart and that occurs twice",
            field="--data",
            got="no new token",
            expected="text of a domain that the tokenizer does not know",
        )
    return Tokenizer(
        json.dumps({**document, "model": grown}, ensure_ascii=False),
        base.special,
        end_ids=base.eos_ids,
        template=base.template,
        context=base.context,
    )


def new_pieces(base: Tokenizer, extended: Tokenizer) -> dict[int, tuple[int, ...]]:
    """For each token of `extended` that `base` lacks, the ids of the pieces `base` cuts it into."""
    tokenize = Backend.from_str(base.json).model.tokenize
    known = _ids(Backend.from_str(base.json))
    new = sorted(_ids(Backend.from_str(extended.json)).items(), key=lambda entry: entry[1])
    return {
        id: tuple(piece.id for piece in tokenize(spelled))
        for spelled, id in new
        if spelled not in known
    }


def domain_words(backend: Any, texts: Iterable[str]) -> Counter[str]:
    """Words of letters as the tokenizer's model is handed them, with their counts."""
    normalizer, cutting = backend.normalizer, _cutting(backend)
    words: Counter[str] = Counter()
    for text in texts:
        plain = normalizer.normalize_str(text) if normalizer is not None else text
        words.update(_spelled(plain, cutting.pre_tokenize_str(plain)))
    return words


def _cutting(backend: Any) -> Any:
    """The tokenizer's own way to cut text into words; before it ours, if it has none."""
    own = backend.pre_tokenizer
    if own is not None and len(own.pre_tokenize_str("a b")) > 1:
        return own
    words = pre_tokenizers.Split(Regex(WORDS), "isolated")
    return words if own is None else pre_tokenizers.Sequence([words, own])


def _spelled(text: str, cuts: list[tuple[str, tuple[int, int]]]) -> Iterator[str]:
    for word, (start, end) in cuts:
        letters = text[start:end].strip(" ▁")
        if letters and all(unicodedata.category(c)[0] in "LM" for c in letters):
            yield word


def _cut(backend: Any) -> Callable[[str], list[str]]:
    tokenize, spelling = backend.model.tokenize, backend.id_to_token
    return lambda word: [spelling(piece.id) for piece in tokenize(word)]


def _ids(backend: Any) -> dict[str, int]:
    ids: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    return ids


def _kind_of(model: str) -> Kind:
    kinds: list[Kind] = [KINDS.get(name) for name in KINDS.names()]
    for kind in kinds:
        if kind.model == model:
            return kind
    raise SourceError(
        "this tokenizer is of no kind that can be extended",
        field="tokenizer.json: model.type",
        got=model,
        expected="one of " + ", ".join(kind.model for kind in kinds),
    )


def _with_added(model: Mapping[str, Any], backend: Any) -> dict[str, Any]:
    """The model with control tokens inside its vocabulary: the library numbers those outside by the
    vocabulary's size, so they would move when it grows."""
    added = backend.get_added_tokens_decoder()
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        inside = {token.content: id for id, token in sorted(added.items())}
        return {**model, "vocab": {**inside, **vocabulary}}
    outside = [id for id in sorted(added) if id >= len(vocabulary)]
    if outside != list(range(len(vocabulary), len(vocabulary) + len(outside))):
        raise SourceError(
            "the ids of this tokenizer have gaps",
            field="tokenizer.json: added_tokens",
            got=f"{len(vocabulary)} tokens and an added one at {outside[0]}",
            expected="ids without gaps",
        )
    lowest = min(score for _, score in vocabulary)
    return {**model, "vocab": [*vocabulary, *([added[id].content, lowest] for id in outside)]}
