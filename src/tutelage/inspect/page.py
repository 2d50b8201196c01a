"""Attention maps, logit lens and induction scores as one HTML page without any request to anywhere.

The page is a template with the numbers as JSON in it; its script draws them. Knows numbers and
tokens, not models.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.inspect.induction import Score
from tutelage.inspect.lens import Guess
from tutelage.inspect.watch import Seen

DIGITS = 3


@dataclass(frozen=True)
class Text:
    """One text looked into: its tokens as people read them."""

    tokens: tuple[str, ...]
    seen: Seen
    lens: Sequence[Sequence[Guess]]
    guesses: Sequence[Sequence[Sequence[str]]]
    """[layer][place]: the lens' tokens as text."""


def page(model: str, texts: Sequence[Text], heads: Sequence[Score], alike: Any = None) -> str:
    """The whole page. `alike` is the likeness of one word's vectors in several texts."""
    data = {
        "model": model,
        "texts": [_text(one) for one in texts],
        "induction": [
            [one.layer, one.head, round(one.score, DIGITS), round(one.deviation, DIGITS)]
            for one in heads
        ],
        "alike": alike,
    }
    folder = importlib.resources.files("tutelage.inspect")
    template = (folder / "page.html").read_text(encoding="utf-8")
    # "</" would end the script that holds the data.
    return template.replace("{{DATA}}", json.dumps(data).replace("</", "<\\/"))


def _text(one: Text) -> dict[str, Any]:
    return {
        "tokens": list(one.tokens),
        # The lower triangle is not cut out: encoders see both ways.
        "weights": [
            [[[round(w, DIGITS) for w in row] for row in head] for head in layer.tolist()]
            for layer in one.seen.weights
        ],
        "lens": [
            [
                {
                    "t": list(words), "p": [round(p, DIGITS) for p in guess.probabilities],
                    "s": None if guess.surprise is None else round(guess.surprise, 2),
                }
                for guess, words in zip(layer, named, strict=True)
            ]
            for layer, named in zip(one.lens, one.guesses, strict=True)
        ],
    }  # fmt: skip
