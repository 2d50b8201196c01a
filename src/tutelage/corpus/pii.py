"""Personal data in a text, found by form and checksum, and masked: [EMAIL], [PHONE], [CARD] ...

    email   name@host.tld
    phone   +49 30 1234567, (555) 123-4567, 555-123-4567: international, or grouped as in America
    card    13 to 19 digits that pass Luhn's check, in one, or grouped as on a card
    iban    two letters, two digits and the account, that pass the check modulo 97
    ssn     American social security numbers, 123-45-6789, those that can exist
    ip      IPv4 and IPv6 addresses of public hosts

What has a form but fails its check stays, as most numbers in texts are no card. Names, streets and
dates of birth have no form and are not found: for those use a tagger of names.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tutelage.corpus.documents import Document

_GROUP = r"[ .\-]"
_GAP = re.compile(_GROUP)


@dataclass(frozen=True)
class Kind:
    """How one kind of personal data looks, and what else it must be."""

    pattern: re.Pattern[str]
    check: Callable[[str], bool] = field(default=lambda text: True)

    def of(self, text: str) -> str:
        """The longest beginning of a text of this form that passes the check, up to a gap: a number
        behind a number may look like its last group. Nothing if none passes."""
        ends = [len(text), *(gap.start() for gap in reversed(list(_GAP.finditer(text))))]
        return next((text[:end] for end in ends if self.check(text[:end])), "")


def luhn(text: str) -> bool:
    """Whether the digits pass the check of card numbers: every second one, from the right,
    doubled, and the sum of all digits divisible by ten."""
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) if n % 2 else d for n, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def mod97(text: str) -> bool:
    """Whether a text passes the check of IBANs (ISO 13616): the first four characters at the end,
    letters as 10 to 35, the number is 1 modulo 97."""
    code = re.sub(r"\s", "", text)
    moved = code[4:] + code[:4]
    return 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def public(text: str) -> bool:
    """Whether a text is an address that reaches a public host. Of IPv6 those all begin with four
    digits from 2000 to 3fff, unlike the a::b of programs."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and (address.version == 4 or text.index(":") == 4)


def _phone(text: str) -> bool:
    return 7 <= sum(c.isdigit() for c in text) <= 15


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "email": Kind(
            re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
        ),
        "iban": Kind(
            re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), mod97
        ),
        "card": Kind(
            re.compile(
                r"(?<![\w.-])(?:[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}|3\d{3}[ -]?\d{6}[ -]?\d{5})"
                r"(?!\w|\.\d)"
            ),
            luhn,
        ),
        "ssn": Kind(re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")),
        "ip": Kind(
            re.compile(
                r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})"
                r"(?![\w:]|\.\d)"
            ),
            public,
        ),
        "phone": Kind(
            re.compile(
                rf"(?<![\w.+-])(?:\+\d{{1,3}}{_GROUP}?(?:\(\d{{1,4}}\){_GROUP}?)?\d{{1,5}}"
                rf"(?:{_GROUP}?\d{{2,5}}){{1,4}}"
                rf"|(?:1{_GROUP})?(?:\(\d{{3}}\) ?|\d{{3}}{_GROUP})\d{{3}}{_GROUP}\d{{4}})"
                r"(?![\w-]|\.\d)"
            ),
            _phone,
        ),
    }
)
"""In the order in which they are looked for: what one kind has taken no other can."""


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with each find replaced by its kind in brackets, and how many of each there were."""
    counts: Counter[str] = Counter()
    for name, kind in KINDS.items():

        def masked(found: re.Match[str], name: str = name, kind: Kind = kind) -> str:
            taken = kind.of(found.group())
            if not taken:
                return found.group()
            counts[name] += 1
            return f"[{name.upper()}]{found.group()[len(taken) :]}"

        text = kind.pattern.sub(masked, text)
    return text, counts


class Mask:
    """A step that masks personal data; `counts` says how much of each kind."""

    name = "personal data"

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, document: Document) -> Document | str:
        def change(text: str) -> str:
            masked, counts = mask(text)
            self.counts.update(counts)
            return masked

        return document.changed(change)
