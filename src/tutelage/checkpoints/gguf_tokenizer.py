"""The tokenizer inside a GGUF file, as a tokenizer.json.

Two kinds: `gpt2`, byte-level BPE whose way of cutting words is named by `pre`; `llama`,
SentencePiece BPE with scores and byte fallback. Cutting words wrongly would change every id
silently, so an unknown `pre` is refused. The regular expressions are those of the models' published
tokenizer.json files; the names those of llama.cpp's llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import SourceError
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
"""Values of tokenizer.ggml.token_type with a meaning here."""

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN_WORDS = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

GPT2_PRE = ("gpt-2", "olmo", "phi-2")
DIGITS_PRE = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone")
LLAMA3_PRE = ("llama3", "llama-v3", "llama-bpe", "falcon3")
QWEN2_PRE = ("qwen2", "deepseek-r1-qwen", "stablelm2")
TEKKEN_PRE = ("tekken",)
KNOWN_PRE = (*GPT2_PRE, *DIGITS_PRE, *LLAMA3_PRE, *QWEN2_PRE, *TEKKEN_PRE)


def gguf_tokenizer(metadata: Mapping[str, Any], path: Path, context: int | None) -> Tokenizer:
    """Build the tokenizer. Raises SourceError naming the file and the entry at fault."""
    vocabulary = _Vocabulary(metadata, path)
    kind = metadata.get("tokenizer.ggml.model")
    if kind == "gpt2":
        document = _byte_level(vocabulary)
    elif kind == "llama":
        document = _sentencepiece(vocabulary)
    else:
        raise SourceError(
            f"{path}: its tokenizer cannot be read",
            field="tokenizer.ggml.model",
            got=kind,
            expected="gpt2 or llama",
        )
    template = metadata.get("tokenizer.chat_template")
    ends = (vocabulary.id(name) for name in ("eos", "eot", "eom"))
    return Tokenizer(
        json.dumps(document, ensure_ascii=False),
        vocabulary.special(),
        end_ids=[id for id in ends if id is not None],
        template=template if isinstance(template, str) else None,
        context=context,
        where=str(path),
    )


class _Vocabulary:
    """The metadata's lists, checked against each other."""

    def __init__(self, metadata: Mapping[str, Any], path: Path) -> None:
        self.metadata = metadata
        self.path = path
        self.tokens: list[str] = self._list("tokens", str)
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise self.fault("tokens", "the same token twice", "distinct tokens")
        self.types = self._list("token_type", int, default=[1] * len(self.tokens))
        if len(self.types) != len(self.tokens):
            raise self.fault("token_type", len(self.types), f"{len(self.tokens)} entries")

    def id(self, name: str) -> int | None:
        """A control token's id, as "bos" or "eos"; None if the file names none."""
        names = {"unk": "unknown", "pad": "padding"}
        id = self.metadata.get(f"tokenizer.ggml.{names.get(name, name)}_token_id")
        if id is not None and not (isinstance(id, int) and 0 <= id < len(self.tokens)):
            raise self.fault(f"{name}_token_id", id, f"below {len(self.tokens)}")
        return id

    def text(self, name: str) -> str | None:
        id = self.id(name)
        return None if id is None else self.tokens[id]

    def special(self) -> SpecialTokens:
        return SpecialTokens(*(self.text(name) for name in ("bos", "eos", "pad", "unk")))

    def added(self) -> list[dict[str, Any]]:
        """Tokens that are matched whole before words are cut."""
        named = {self.id(name) for name in ("bos", "eos", "pad")}
        return [
            {
                "id": id,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": self.types[id] != USER_DEFINED,
            }
            for id, token in enumerate(self.tokens)
            if self.types[id] in (CONTROL, USER_DEFINED)
            or (self.types[id] == UNKNOWN and token.startswith("<"))
            or id in named
        ]

    def starts(self, default: bool) -> dict[str, Any] | None:
        """The post-processor that puts a start token before a text, if the file wants one."""
        bos = self.text("bos")
        if bos is None or not self.metadata.get("tokenizer.ggml.add_bos_token", default):
            return None
        start = {"SpecialToken": {"id": bos, "type_id": 0}}
        first = [start, {"Sequence": {"id": "A", "type_id": 0}}]
        return {
            "type": "TemplateProcessing",
            "single": first,
            "pair": [*first, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {bos: {"id": bos, "ids": [self.id("bos")], "tokens": [bos]}},
        }

    def merges(self) -> list[list[str]]:
        if "tokenizer.ggml.merges" not in self.metadata:
            return []  # a token a byte: a list of nothing cannot be written
        pairs = [merge.split(" ") for merge in self._list("merges", str)]
        for pair in pairs:
            if len(pair) != 2 or not (pair[0] in self.ids and pair[1] in self.ids):
                raise self.fault("merges", " ".join(pair), "two tokens of the vocabulary")
        return pairs

    def scores(self) -> list[float]:
        scores = self._list("scores", float)
        if len(scores) != len(self.tokens):
            raise self.fault("scores", len(scores), f"{len(self.tokens)} entries")
        return scores

    def fault(self, name: str, got: object, expected: str) -> SourceError:
        return SourceError(
            f"{self.path}: its tokenizer is malformed",
            field=f"tokenizer.ggml.{name}",
            got=got,
            expected=expected,
        )

    def _list(self, name: str, type: type, default: list[Any] | None = None) -> list[Any]:
        values = self.metadata.get(f"tokenizer.ggml.{name}", default)
        if not isinstance(values, list) or not values or not isinstance(values[0], type):
            raise self.fault(name, "nothing" if values is None else values, f"{type.__name__}s")
        return values


def _byte_level(vocabulary: _Vocabulary) -> dict[str, Any]:
    pre = vocabulary.metadata.get("tokenizer.ggml.pre")
    words, normalizer = _words(pre, vocabulary)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "normalizer": normalizer,
        "pre_tokenizer": words,
        "post_processor": vocabulary.starts(default=pre in LLAMA3_PRE),
        "decoder": {**level, "use_regex": True},
        "model": _bpe(
            vocabulary.ids, vocabulary.merges(), ignore_merges=pre in (*LLAMA3_PRE, *TEKKEN_PRE)
        ),
    }


Cut = tuple[dict[str, Any], dict[str, Any] | None]
"""A pre-tokenizer and the normalizer that goes with it, as tokenizer.json has them."""


def _words(pre: Any, vocabulary: _Vocabulary) -> Cut:
    found = words_of(pre)
    if found is None:
        raise vocabulary.fault("pre", pre, "one of " + ", ".join(KNOWN_PRE))
    return found


def words_of(pre: Any) -> Cut | None:
    """How text is cut into words under this name; None for a name that is not known."""
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    if pre in GPT2_PRE:
        return {**level, "use_regex": True}, None
    if pre in DIGITS_PRE:
        digits = {"type": "Digits", "individual_digits": True}
        return _sequence(digits, {**level, "use_regex": True}), None
    split: dict[str, Any] = {"type": "Split", "behavior": "Isolated", "invert": False}
    if pre in LLAMA3_PRE:
        split["pattern"] = {"Regex": LLAMA3_WORDS}
    elif pre in QWEN2_PRE:
        split["pattern"] = {"Regex": QWEN2_WORDS}
    elif pre in TEKKEN_PRE:
        split["pattern"] = {"Regex": TEKKEN_WORDS}
    else:
        return None
    normalizer = {"type": "NFC"} if pre in QWEN2_PRE else None
    return _sequence(split, {**level, "use_regex": False}), normalizer


def _sequence(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


def _sentencepiece(vocabulary: _Vocabulary) -> dict[str, Any]:
    spaces: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    prepended = bool(vocabulary.metadata.get("tokenizer.ggml.add_space_prefix", True))
    normalizers = [{"type": "Prepend", "prepend": "▁"}, spaces] if prepended else [spaces]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prepended:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    merges = merges_from_scores(vocabulary.tokens, vocabulary.scores())
    unknown = vocabulary.text("unk") or next(
        (t for t, type in zip(vocabulary.tokens, vocabulary.types, strict=True) if type == UNKNOWN),
        None,
    )
    model = _bpe(vocabulary.ids, merges, ignore_merges=False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": vocabulary.starts(default=True),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {**model, "unk_token": unknown, "fuse_unk": True, "byte_fallback": True},
    }


def merges_from_scores(tokens: Sequence[str], scores: Sequence[float]) -> list[list[str]]:
    """SentencePiece BPE as a merge list: it always joins the neighbours whose union scores best,
    so each way of making a piece from two is a merge, in the order of the pieces' scores."""
    known = {token: id for id, token in enumerate(tokens)}
    ranked: list[tuple[float, int, int, str, str]] = []
    for piece, score in zip(tokens, scores, strict=True):
        for cut in range(1, len(piece)):
            left, right = known.get(piece[:cut]), known.get(piece[cut:])
            if left is not None and right is not None:
                ranked.append((-score, left, right, piece[:cut], piece[cut:]))
    ranked.sort(key=lambda merge: merge[:3])
    return [[left, right] for *_, left, right in ranked]


def _bpe(ids: Mapping[str, int], merges: list[list[str]], ignore_merges: bool) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": dict(ids),
        "merges": merges,
    }
