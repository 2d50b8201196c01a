"""How byte-level vocabularies write bytes as characters."""

from __future__ import annotations


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
