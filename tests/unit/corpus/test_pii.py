"""Personal data is found by its form and its checksum, and what only looks like it stays."""

from __future__ import annotations

import random

import pytest

from tests.unit.corpus.planted import TRAPS, iban, luhn_number
from tutelage.corpus.documents import document_from
from tutelage.corpus.pii import Mask, luhn, mask, mod97, public
from tutelage.data.shapes import Record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to anna.b+x@mail.example.co.uk, or a@b.", "Write to [EMAIL], or a@b."),
        ("Call +49 30 1234567 or (555) 123-4567.", "Call [PHONE] or [PHONE]."),
        ("555-123-4567, 1-800-555-0199, +1 555.123.4567", "[PHONE], [PHONE], [PHONE]"),
        ("Card 4111 1111 1111 1111 but not 4111 1111 1111 1112",
         "Card [CARD] but not 4111 1111 1111 1112"),
        ("5500-0000-0000-0004", "[CARD]"),
        ("+1 596.555.9984 203215. +49 333 6538985 107341", "[PHONE] 203215. [PHONE] 107341"),
        ("4111 1111 1111 1111 123, DE89 3704 0044 0532 0130 00 ISBN", "[CARD] 123, [IBAN] ISBN"),
        ("DE89 3704 0044 0532 0130 00; GB82WEST12345698765432", "[IBAN]; [IBAN]"),
        ("DE88 3704 0044 0532 0130 00", "DE88 3704 0044 0532 0130 00"),
        ("078-05-1120, 000-12-3456, 900-12-3456", "[SSN], 000-12-3456, 900-12-3456"),
        ("8.8.8.8 and 192.168.1.1 and 127.0.0.1", "[IP] and 192.168.1.1 and 127.0.0.1"),
        ("2001:4860:4860::8888, std::vector, a::b, 12:30:45",
         "[IP], std::vector, a::b, 12:30:45"),
    ],
)  # fmt: skip
def test_finds(text: str, expected: str) -> None:
    assert mask(text)[0] == expected


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_stay(trap: str) -> None:
    text = f"It was {trap}, they say."
    assert mask(text) == (text, {})


def test_checksums_by_published_examples() -> None:
    assert luhn("4539 1488 0343 6467") and not luhn("4539 1488 0343 6468")
    assert luhn("378282246310005") and not luhn("0000000000000000")
    assert mod97("GB29 NWBK 6016 1331 9268 19") and not mod97("GB29 NWBK 6016 1331 9268 18")
    drawn = random.Random(0)
    assert all(luhn(luhn_number(drawn)) and mod97(iban(drawn)) for _ in range(200))
    assert public("8.8.8.8") and not public("10.0.0.1") and not public("999.1.1.1")


def test_every_text_of_a_row_is_masked() -> None:
    row = {"prompt": "Mail a@b.org?", "completion": "Or call 555-123-4567.", "url": "c@d.org"}
    document = document_from(Record("f:1", "f:1", row))
    step = Mask()
    masked = step(document)  # type: ignore[arg-type]
    assert masked.as_json() == {  # type: ignore[union-attr]
        "id": "f:1", "prompt": "Mail [EMAIL]?", "completion": "Or call [PHONE].", "url": "c@d.org",
    }  # fmt: skip
    assert step.counts == {"email": 1, "phone": 1}


def test_long_texts_take_no_longer_than_their_length() -> None:
    for piece in ("1 ", "a.b@", "1:", "AB12 3456 ", "+1 (2) ", "x" * 64 + "@"):
        mask(piece * 20_000)
