"""Which languages a model knows, by a text that exists in all of them.

    covered(lm)       {"de": {"bits_per_byte": 1.1, "letters": 4.2, "covered": True}, ...}

The text is article 1 of the Universal Declaration of Human Rights. A language counts as covered
where the model foretells it in half the bits that the frequencies of its bytes take (`letters`): a
bar that a model without the language does not clear. Every model has seen this text, so more than
*knows something of* does not follow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tutelage.evaluate.choose import read_texts
from tutelage.lm import LM

SHARE = 0.5
"""Of the entropy of bytes, which a model that covers a language stays below."""
TEXTS: Mapping[str, str] = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with "
    "reason and conscience and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft "
    "und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués "
    "de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
    "fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como "
    "están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati "
    "di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de "
    "razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd "
    "met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap te "
    "gedragen.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni "
    "obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены "
    "разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
}


def covered(lm: LM) -> dict[str, dict[str, Any]] | None:
    """By language, read after a line's end; None for a model that gives no probabilities."""
    if not lm.capabilities().score:
        return None
    rows = read_texts(lm, [("\n", text) for text in TEXTS.values()])["bits_per_byte"]
    found = {}
    for (name, text), (bits, size) in zip(TEXTS.items(), rows, strict=True):
        letters = entropy(text)
        each = float(bits / size)
        found[name] = {
            "bits_per_byte": each, "letters": letters, "covered": each < SHARE * letters,
        }  # fmt: skip
    return found


def entropy(text: str) -> float:
    """Bits a byte by the frequencies of the text's own bytes."""
    data = text.encode()
    return -sum(n / len(data) * math.log2(n / len(data)) for n in Counter(data).values())
