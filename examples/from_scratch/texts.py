"""The texts of the studies: files beside the checkout where they are, what Python brings else."""

from __future__ import annotations

import random
from pathlib import Path

from study import Json, Place

from tutelage.corpus.documents import Document
from tutelage.corpus.sources import open_source

APART = ("frankenstein", "sherlock_holmes")
"""Books that nothing is trained on: other authors than those of all other books."""


def prose(place: Place, *, documents: int = 60, held_out: bool = True) -> Json:
    """`data` of a run on books: eight to learn from, two to be measured on, section by section."""
    folder = place.data / "standard_ebooks"
    if not folder.is_dir():
        return {
            "train": {"docs": "builtin:stdlib-docs"},
            "held_out_share": 0.05 if held_out else 0,
            "held_out_documents": documents,
        }
    books = {file.stem: str(file) for file in sorted(folder.glob("*.txt"))}
    if place.smoke:
        books = {name: books[name] for name in ("alice", *APART)}
    return {
        "train": {name: file for name, file in books.items() if name not in APART},
        "held_out": {name: books[name] for name in APART} if held_out else {},
        "held_out_share": 0,
        "held_out_documents": place.count(documents, 2),
        "unit": "section",
    }


def paragraphs(place: Place) -> list[tuple[str, str]]:
    """Paragraphs of 200 to 600 characters and what they are from, in an order drawn once."""
    found = []
    for name in prose(Place(place.work, place.data, 1, smoke=False))["train"].values():
        for one in open_source(name, unit="line"):
            if isinstance(one, Document):
                pieces = one.text.split("\n\n")
                found += [(text.strip(), one.source or name) for text in pieces]
    kept = sorted({pair for pair in found if 200 <= len(pair[0]) <= 600})
    random.Random(0).shuffle(kept)
    return kept


def source_of(place: Place) -> str:
    return "standard_ebooks" if (place.data / "standard_ebooks").is_dir() else "builtin"


def medical(place: Place) -> Path | None:
    folder = place.data / "medquad"
    return folder if folder.is_dir() else None
