"""The bytes a token stands for. A token need not be text: it may be a part of a character.

GPT-2's alphabet     Ġthe  -> b" the"          each character is a byte
byte fallback        <0xE2> -> b"\\xe2"
SentencePiece        ▁the  -> b" the"
WordPiece            ##ing -> b"ing"
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tutelage.text.byte_alphabet import byte_alphabet

_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_UNDERLINE = "▁"


def spelling(tokenizer_json: str) -> Callable[[str], bytes]:
    """How this tokenizer's vocabulary spells bytes: a function of a token as it stands there."""
    document = json.loads(tokenizer_json)
    kinds = set(_kinds(document.get("decoder"))) | set(_kinds(document.get("pre_tokenizer")))
    model = (document.get("model") or {}).get("type")
    if "ByteLevel" in kinds:
        back = {character: byte for byte, character in byte_alphabet().items()}
        return lambda token: _byte_level(token, back)
    if model == "WordPiece":
        prefix = document["model"].get("continuing_subword_prefix", "##")
        return lambda token: token.removeprefix(prefix).encode()
    return _sentence_piece


def _byte_level(token: str, back: dict[str, int]) -> bytes:
    if all(character in back for character in token):
        return bytes(back[character] for character in token)
    return token.encode()


def _sentence_piece(token: str) -> bytes:
    found = _FALLBACK.fullmatch(token)
    return bytes([int(found[1], 16)]) if found else token.replace(_UNDERLINE, " ").encode()


def _kinds(part: Any) -> list[str]:
    """Types of a part of tokenizer.json and of what it is a sequence of."""
    if not isinstance(part, dict):
        return []
    inside = [*part.get("decoders", []), *part.get("pretokenizers", [])]
    return [str(part.get("type")), *(kind for one in inside for kind in _kinds(one))]
