"""The tokenizers of the presets: one token a byte, and control tokens.

Built in code, so that a tiny model needs no file and every text has an encoding. Decoders get
ChatML and ids that are byte values; encoders get what rows begin and end with, padding and a mask;
encoder-decoders an end of rows, padding (which their decoders begin with) and a mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tutelage.text.byte_alphabet import byte_alphabet
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 259
ROW_START, PADDING, ROW_END, MASK = "<s>", "<pad>", "</s>", "<mask>"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_tokenizer(context: int | None = None) -> Tokenizer:
    """259 tokens: bytes 0..255, then end of text (also padding), start of turn, end of turn."""
    control = {END_OF_TEXT: 256, TURN_START: 257, TURN_END: 258}
    special = SpecialTokens(eos=TURN_END, pad=END_OF_TEXT)
    text = _document(control, first=0)
    return Tokenizer(text, special, end_ids=[256], template=CHATML, context=context)


def encoder_tokenizer(context: int | None = None) -> Tokenizer:
    """260 tokens: start, padding, end and mask, numbered as RoBERTa numbers its first, then bytes.
    A row is written between start and end."""
    special = SpecialTokens(cls=ROW_START, pad=PADDING, sep=ROW_END, mask=MASK)
    control = {ROW_START: 0, PADDING: 1, ROW_END: 2, MASK: 3}
    rows = _rows(control, before=(ROW_START,))
    return Tokenizer(_document(control, first=4, rows=rows), special, context=context)


def pair_tokenizer(context: int | None = None) -> Tokenizer:
    """260 tokens: padding, end and mask, numbered as T5 numbers its first two, then bytes. A row is
    written before an end."""
    special = SpecialTokens(eos=ROW_END, pad=PADDING, bos=ROW_START, mask=MASK)
    control = {PADDING: 0, ROW_END: 1, ROW_START: 2, MASK: 3}
    document = _document(control, first=4, rows=_rows(control, before=()))
    return Tokenizer(document, special, context=context)


def _rows(control: Mapping[str, int], before: tuple[str, ...]) -> dict[str, Any]:
    """How one text, or two, are written as a row: `before` in front, an end behind each."""

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def text(name: str) -> list[dict[str, Any]]:
        return [{"Sequence": {"id": name, "type_id": 0}}, token(ROW_END)]

    start = [token(name) for name in before]
    known = {
        name: {"id": name, "ids": [control[name]], "tokens": [name]} for name in (*before, ROW_END)
    }
    return {
        "type": "TemplateProcessing",
        "single": [*start, *text("A")],
        "pair": [*start, *text("A"), *text("B")],
        "special_tokens": known,
    }


def _document(control: Mapping[str, int], first: int, rows: Mapping[str, Any] | None = None) -> str:
    """tokenizer.json: byte b is token b + `first`; `rows` is how a whole row is written."""
    vocabulary = {character: byte + first for byte, character in byte_alphabet().items()}
    if first:  # the library numbers added tokens behind the vocabulary, unless they stand in it
        vocabulary = {**control, **vocabulary}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": id, "content": content, **flags, "special": True} for content, id in control.items()
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {**level, "use_regex": False},
        "post_processor": rows,
        "decoder": {**level, "use_regex": False},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    return json.dumps(document, ensure_ascii=False)
