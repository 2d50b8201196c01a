"""A corpus in which everything wrong is known: clean passages, and junk, repeats, personal data and
test items planted among them.

    corpus = plant(clean_texts(), seed=0)
    corpus.documents                        # shuffled, labelled by `kinds`

Clean passages are the user's own texts or the prose of Python's reference. The junk is made by
rule, so its numbers say how the filters do on junk of these kinds and no more.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.unit.corpus.planted_words import FOREIGN, GOODS, INSULTS, LOREM, MENU
from tutelage.corpus.documents import Document, text_document
from tutelage.data.near_duplicates import jaccard, shingles
from tutelage.data.retention import _paragraphs, _passages

Make = Callable[[random.Random, Sequence[str]], str]
CLEAN = "clean"


def _sentences(drawn: random.Random, texts: Sequence[str], count: int) -> list[str]:
    found = [s.strip() for text in drawn.sample(list(texts), min(count, len(texts)))
             for s in text.split(". ")]  # fmt: skip
    return [s.rstrip(".") + "." for s in found if len(s.split()) >= 5][:count]


def _short(drawn: random.Random, texts: Sequence[str]) -> str:
    return " ".join(drawn.choice(texts).split()[: drawn.randrange(3, 45)])


def _hashtags(drawn: random.Random, texts: Sequence[str]) -> str:
    words = drawn.choice(texts).split()
    return " ".join(f"#{word}" if drawn.random() < 0.4 else word for word in words)


def _previews(drawn: random.Random, texts: Sequence[str]) -> str:
    lines = [" ".join(s.split()[:12]) + drawn.choice(("...", "…"))
             for s in _sentences(drawn, texts, 12)]  # fmt: skip
    return "\n".join(lines)


def _bullets(drawn: random.Random, texts: Sequence[str]) -> str:
    mark = drawn.choice(("•", "-", "*"))
    return "\n".join(f"{mark} {sentence}" for sentence in _sentences(drawn, texts, 12))


def _encoded(drawn: random.Random, texts: Sequence[str]) -> str:
    lines = (base64.b64encode(drawn.randbytes(45)).decode() for _ in range(60))
    return "\n".join(lines)


def _numbers(drawn: random.Random, texts: Sequence[str]) -> str:
    return "\n".join(" ".join(f"{drawn.uniform(0, 1e4):.2f}" for _ in range(8)) for _ in range(20))


def _keywords(drawn: random.Random, texts: Sequence[str]) -> str:
    stop = {"the", "be", "to", "of", "and", "that", "have", "with"}
    words = sorted({w for text in texts for w in text.lower().split() if w.isalpha()} - stop)
    return ", ".join(drawn.sample(words, min(90, len(words))))


def _repeated_lines(drawn: random.Random, texts: Sequence[str]) -> str:
    lines = _sentences(drawn, texts, 4)
    return "\n".join(line for line in lines for _ in range(drawn.randrange(3, 6)))


def _spam(drawn: random.Random, texts: Sequence[str]) -> str:
    phrase = " ".join(["buy", *drawn.sample(GOODS, 4), "online today"])
    return " ".join([drawn.choice(texts), *[phrase] * drawn.randrange(12, 30)])


def _lorem(drawn: random.Random, texts: Sequence[str]) -> str:
    return f"{drawn.choice(texts)} {LOREM} {drawn.choice(texts)}"


def _code(drawn: random.Random, texts: Sequence[str]) -> str:
    name = drawn.choice(GOODS)
    body = "\n".join(f"  const {name}{n} = await load({n}, {{ retry: true }});" for n in range(12))
    return f"export async function {name}() {{\n{body}\n  return {name}0;\n}}"


def _menu(drawn: random.Random, texts: Sequence[str]) -> str:
    lines = [" ".join(drawn.sample(MENU, drawn.randrange(1, 4))) for _ in range(30)]
    return "\n".join([*lines, "This site uses cookies to improve your experience."])


def _foreign(drawn: random.Random, texts: Sequence[str]) -> str:
    sentences = " ".join(drawn.choice(list(FOREIGN.values())).split()).split(". ")
    drawn.shuffle(sentences)
    return ". ".join(sentence.rstrip(".") for sentence in sentences) + "."


def _toxic(drawn: random.Random, texts: Sequence[str]) -> str:
    def insult() -> str:
        one, other = drawn.sample(INSULTS, 2)
        return drawn.choice(
            (
                f"You are a {one} and everybody knows it.",
                f"Shut your mouth, you {one}, or I will find you.",
                f"I hate you and every {one} like you, go to hell, you {other}.",
                f"What a {one}, and his brother is a {other} too.",
            )
        )

    return " ".join(insult() for _ in range(drawn.randrange(6, 12)))


def _salad(drawn: random.Random, texts: Sequence[str]) -> str:
    """Words of clean passages in no order: no rule speaks against it, a classifier may."""
    words = " ".join(drawn.sample(list(texts), 2)).split()
    return " ".join(drawn.sample(words, min(100, len(words)))).lower()


JUNK: dict[str, tuple[Make, tuple[str, ...]]] = {
    "fragment": (_short, ("length",)),
    "hashtags": (_hashtags, ("symbols",)),
    "previews": (_previews, ("symbols",)),
    "bullets": (_bullets, ("symbols",)),
    "encoded": (_encoded, ("words",)),
    "numbers": (_numbers, ("words",)),
    "keywords": (_keywords, ("words", "fineweb")),
    "repeated lines": (_repeated_lines, ("repetition", "fineweb")),
    "spam": (_spam, ("repetition",)),
    "lorem ipsum": (_lorem, ("c4",)),
    "code": (_code, ("c4",)),
    "menu": (_menu, ("c4", "fineweb")),
    "foreign": (_foreign, ("language",)),
    "toxic": (_toxic, ("toxicity",)),
    "word salad": (_salad, ("quality",)),
}
"""Kind of junk -> how it is made, and the filters that are there for it."""


@dataclass
class Planted:
    """Documents in a shuffled order, and what is true of each by its id."""

    documents: list[Document]
    kinds: dict[str, str]
    """Id -> clean, a kind of junk, exact, near, similar, personal, or contaminated."""
    personal: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Id -> what was planted in it: kind of personal data and the text."""
    items: list[Document] = field(default_factory=list)
    """The evaluation set."""
    leaked: set[str] = field(default_factory=set)
    """Ids of items that stand in some document."""

    def of(self, *kinds: str) -> set[str]:
        return {id for id, kind in self.kinds.items() if kind in kinds}


def clean_texts(most: int = 270) -> list[str]:
    """Passages of prose from Python's reference."""
    from tutelage.data.load import load

    rows = load("builtin:stdlib-docs").rows
    found = [text for row in rows for text in _passages(_paragraphs(row.text or ""))]
    return list(dict.fromkeys(found))[:most]


def plant(texts: Sequence[str], seed: int = 0, each: int = 20) -> Planted:
    """`each` documents of every kind among the clean ones; a fifth of the texts become an
    evaluation set, half of which leaks."""
    drawn = random.Random(seed)
    shuffled = drawn.sample(list(texts), len(texts))
    cut = len(shuffled) // 5
    for_items, clean = shuffled[:cut], shuffled[cut:]
    found = Planted([], {})

    def add(kind: str, text: str) -> str:
        id = f"{kind} {len(found.documents)}"
        found.documents.append(text_document(id, text))
        found.kinds[id] = kind
        return id

    for text in clean:
        add(CLEAN, text)
    for kind, (make, _) in JUNK.items():
        for _ in range(each):
            add(kind, make(drawn, clean))
    _plant_personal(found, add, drawn, clean, each)
    _plant_items(found, add, drawn, for_items, clean)
    originals = drawn.sample(clean, min(2 * each, len(clean)))
    drawn.shuffle(found.documents)
    # Repeats stand behind what they repeat: it is the first that is kept.
    for text in originals:
        add("exact", _disguised(drawn, text))
        for edits in (1, 2, 3):
            changed = _edited(drawn, text, edits)
            alike = jaccard(shingles(text, 5), shingles(changed, 5))
            add("near" if alike >= 0.8 else "similar", changed)
    return found


def _disguised(drawn: random.Random, text: str) -> str:
    """The same text in another case and with other white space."""
    changed = drawn.choice((str.upper, str.lower, str))(text)
    return drawn.choice((" ", "\n", "  ")).join(changed.split())


def _edited(drawn: random.Random, text: str, edits: int) -> str:
    """Words replaced, put in or left out."""
    words = text.split()
    for _ in range(edits):
        place = drawn.randrange(len(words))
        how = drawn.randrange(3)
        words[place : place + (how != 1)] = [] if how == 2 else [f"edit{drawn.randrange(10**6)}"]
    return " ".join(words)


def luhn_number(drawn: random.Random) -> str:
    """Sixteen digits that pass Luhn's check, in groups of four."""
    digits = [4, *(drawn.randrange(10) for _ in range(14))]
    doubled = [sum(divmod(2 * d, 10)) if n % 2 == 0 else d for n, d in enumerate(digits)]
    digits.append(-sum(doubled) % 10)
    text = "".join(map(str, digits))
    return " ".join(text[n : n + 4] for n in range(0, 16, 4))


def iban(drawn: random.Random) -> str:
    account = "".join(str(drawn.randrange(10)) for _ in range(18))
    check = 98 - int(f"{account}131400") % 97  # DE00 at the end: D is 13, E is 14
    text = f"DE{check:02}{account}"
    return " ".join(text[n : n + 4] for n in range(0, len(text), 4))


def _personal(drawn: random.Random) -> tuple[str, str]:
    kind = drawn.choice(("email", "phone", "card", "iban", "ssn", "ip"))
    digits = [str(drawn.randrange(2, 10)) for _ in range(12)]
    number = "".join(digits)
    made = {
        "email": f"{drawn.choice(GOODS)}.{number[:3]}@mail{number[3]}.example.org",
        "phone": drawn.choice(
            (
                f"+49 {number[:3]} {number[3:10]}",
                f"({number[:3]}) {number[3:6]}-{number[6:10]}",
                f"{number[:3]}-{number[3:6]}-{number[6:10]}",
                f"+1 {number[:3]}.{number[3:6]}.{number[6:10]}",
            )
        ),
        "card": luhn_number(drawn),
        "iban": iban(drawn),
        "ssn": f"{drawn.randrange(100, 600)}-{number[:2]}-{number[2:6]}",
        "ip": f"{drawn.randrange(30, 99)}.{drawn.randrange(256)}.{drawn.randrange(256)}.7",
    }
    return kind, made[kind]


TRAPS = (
    "in the years 1914-1918",
    "on 2026-11-22 at 12:30:45",
    "version 1.2.3.4.5",
    "ISBN 978-3-16-148410-0",
    "about 3.14159265358979323846",
    "from 192.168.0.17 inside",
    "order 1234 5678 9012 3456",
    "at std::vector",
    "the decorator @property.setter",
    "a range of 100-200-300",
    "0x7f3a:0010",
    "123-45-678",
    "000-12-3456",
    "chapter 12.3.4",
    "$1,234,567.89",
    "10.1000/182",
)
"""What looks like personal data and is none."""


def _plant_personal(
    found: Planted, add: Callable[[str, str], str], drawn: random.Random, clean: Sequence[str],
    each: int,
) -> None:  # fmt: skip
    for _ in range(2 * each):
        words = drawn.choice(clean).split()
        planted = [_personal(drawn) for _ in range(drawn.randrange(1, 4))]
        for kind, text in planted:
            around = "{}" if kind == "phone" else drawn.choice(("{},", "{}", "({})"))
            words.insert(drawn.randrange(1, len(words)), around.format(text))
        words.insert(drawn.randrange(1, len(words)), drawn.choice(TRAPS))
        found.personal[add("personal", f"N{drawn.randrange(10**9)} " + " ".join(words))] = planted


def _plant_items(
    found: Planted, add: Callable[[str, str], str], drawn: random.Random, texts: Sequence[str],
    clean: Sequence[str],
) -> None:  # fmt: skip
    for number, text in enumerate(texts):
        item = text_document(f"item {number}", " ".join(text.split()[: drawn.randrange(15, 60)]))
        found.items.append(item)
        if number % 2:
            continue
        found.leaked.add(item.id)
        before, behind = (" ".join(drawn.choice(clean).split()[:50]) for _ in range(2))
        inside = drawn.choice((str, str.upper, lambda t: t.replace(",", " -")))(item.text)
        whole = drawn.random() < 0.25
        add(
            "contaminated", _disguised(drawn, item.text) if whole else f"{before} {inside} {behind}"
        )
