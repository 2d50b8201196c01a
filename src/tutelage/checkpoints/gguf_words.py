"""A tokenizer as a GGUF file's metadata: the way back of `gguf_tokenizer.py`.

Byte-level BPE alone: tokens by id, their types, merges, and the name by which llama.cpp knows how
text is cut into words. A tokenizer that cuts otherwise than all that have a name is refused: every
id behind the first difference would be another one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.checkpoints.gguf_tokenizer import (
    CONTROL,
    DIGITS_PRE,
    GPT2_PRE,
    LLAMA3_PRE,
    QWEN2_PRE,
    TEKKEN_PRE,
    UNKNOWN,
    USER_DEFINED,
    words_of,
)
from tutelage.errors import RequestError
from tutelage.text.tokenizer import Tokenizer

NORMAL, UNUSED = 1, 5
WHOLE = (*LLAMA3_PRE, *TEKKEN_PRE)
"""Ways of cutting with which a word that is a token is never merged from its parts."""
NAMES = (DIGITS_PRE[0], GPT2_PRE[0], "llama-bpe", QWEN2_PRE[0], TEKKEN_PRE[0])


@dataclass(frozen=True)
class Words:
    """What the file says of its tokenizer."""

    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    ids: Mapping[str, int]
    """Control tokens by the names `tokenizer.ggml.NAME_token_id` has."""
    starts: bool
    """Whether a start token is put before a text."""


def words(tokenizer: Tokenizer, rows: int) -> Words:
    """For a model with so many rows; those that no token has become unused ones. Raises
    RequestError for a tokenizer that llama.cpp would read otherwise."""
    document = json.loads(tokenizer.json)
    model = document["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise _refused("model", model.get("type"), "byte-level BPE")
    tokens = {id: text for text, id in model["vocab"].items()}
    types = dict.fromkeys(tokens, NORMAL)
    for entry in document.get("added_tokens", []):
        tokens[entry["id"]] = entry["content"]
        types[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    if tokenizer.unk_id is not None and types[tokenizer.unk_id] == NORMAL:
        types[tokenizer.unk_id] = UNKNOWN
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    return Words(
        pre=_pre(document) if merges else GPT2_PRE[0],  # without merges every cut gives bytes
        tokens=[tokens.get(id, f"[PAD{id}]") for id in range(rows)],
        types=[types.get(id, UNUSED) for id in range(rows)],
        merges=merges,
        ids=_ids(tokenizer),
        starts=bool(tokenizer.prefix),
    )


def _pre(document: Mapping[str, Any]) -> str:
    """The name of the way words are cut."""
    model = document["model"]
    found = (_plain(document["pre_tokenizer"]), _plain(document["normalizer"]))
    whole = bool(model.get("ignore_merges"))
    for name in NAMES:
        known = words_of(name)
        assert known is not None
        if found == tuple(_plain(part) for part in known) and whole == (name in WHOLE):
            return name
    got = json.dumps(document["pre_tokenizer"])
    raise _refused("pre_tokenizer", got, "one of the ways named " + ", ".join(NAMES))


def _plain(part: Any) -> Any:
    """Without what changes no id: offsets, and sequences of one."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Sequence" and len(part.get("pretokenizers", ())) == 1:
        return _plain(part["pretokenizers"][0])
    return {key: _plain(value) for key, value in part.items() if key != "trim_offsets"}


def _ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Up to three tokens that end an answer: `eos`, `eot`, `eom`."""
    ends = sorted(tokenizer.eos_ids, key=lambda id: (id != tokenizer.eos_id, id))
    if len(ends) > 3:
        raise _refused("eos_token_id", ends, "at most three tokens that end an answer")
    named = {
        "bos": tokenizer.bos_id,
        "unknown": tokenizer.unk_id,
        "padding": tokenizer.pad_id,
        **dict(zip(("eos", "eot", "eom"), ends, strict=False)),
    }
    return {name: id for name, id in named.items() if id is not None}


def _refused(field: str, got: object, expected: str) -> RequestError:
    return RequestError(
        "the tokenizer cannot be written to a GGUF file that cuts text as it does",
        field=f"tokenizer.json: {field}",
        got=got,
        expected=expected,
        hint="write a model folder instead: model export --to hf",
    )
