"""The tokenizer of the `*-tiny` presets: one token a byte, three control tokens, ChatML.

Built in code, so that a tiny model needs no file and every text has an encoding. Id = byte value.
"""

from __future__ import annotations

import json

from tutelage.text.tokenizer import SpecialTokens, Tokenizer

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VOCABULARY = 259

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_tokenizer(context: int | None = None) -> Tokenizer:
    """259 tokens: bytes 0..255, then end of text (also padding), start of turn, end of turn."""
    vocabulary = {character: byte for byte, character in byte_alphabet().items()}
    added = [
        {
            "id": 256 + index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, content in enumerate((END_OF_TEXT, TURN_START, TURN_END))
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {**level, "use_regex": False},
        "post_processor": None,
        "decoder": {**level, "use_regex": False},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    special = SpecialTokens(eos=TURN_END, pad=END_OF_TEXT)
    text = json.dumps(document, ensure_ascii=False)
    end_of_text = 256
    return Tokenizer(text, special, end_ids=[end_of_text], template=CHATML, context=context)


def byte_alphabet() -> dict[int, str]:
    """Byte -> the printable character that stands for it in byte-level vocabularies.

    Printable Latin-1 bytes stand for themselves, the others for U+0100 onwards in byte order
    (Radford et al. 2019, GPT-2's `bytes_to_unicode`).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    alphabet = {byte: chr(byte) for byte in sorted(printable)}
    alphabet.update({byte: chr(0x100 + index) for index, byte in enumerate(others)})
    return alphabet
