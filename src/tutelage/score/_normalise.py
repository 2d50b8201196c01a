"""What counts as the same answer: how labels and short answers are normalised before comparing."""

from __future__ import annotations

import re
import string
import unicodedata

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_EDGES = string.punctuation + string.whitespace + "“”‘’«»…。"


def label(text: str) -> str:
    """A class label: NFKC, case folded, inner whitespace single, punctuation at both ends removed.

    A label that is nothing but punctuation (":-)", "+") is kept as it is.
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip(_EDGES) or folded


def short_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no articles, single spaces.

    Rajpurkar et al. 2016, the official evaluation script's `normalize_answer`.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
