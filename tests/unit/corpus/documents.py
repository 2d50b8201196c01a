"""Small corpora for tests: prose that nothing speaks against, and files of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tutelage.corpus.documents import Document, text_document

TALE = """
the river ran past a quiet town where people of every trade had built houses that stood close
together and in the evening lamps were lit along the road with care so that travellers could find
their way to an inn and be given bread soup or a bed while rain fell on the roofs
"""
WORDS = TALE.split()


def prose(seed: int, words: int = 120) -> str:
    """Sentences of common words, different for each seed."""
    drawn = random.Random(seed)
    sentences = []
    while sum(len(s.split()) for s in sentences) < words:
        chosen = [drawn.choice(WORDS) for _ in range(drawn.randrange(8, 16))]
        sentences.append(f"{' '.join(chosen).capitalize()} number {drawn.randrange(10**6)}.")
    return " ".join(sentences)


def documents(count: int, words: int = 120) -> list[Document]:
    return [text_document(f"d{n}", prose(n, words)) for n in range(count)]


def jsonl(path: Path, texts: list[str]) -> str:
    path.write_text(
        "".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(texts))
    )
    return str(path)
