"""A model of books goes on with medical text, in three mixes: what it gains there and loses here.

Questions and answers about one condition are all on one side of the split. Without MedQuAD the
domain is the source code of Python's standard library.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from study import Json, Place, short
from texts import medical, prose, source_of

from tutelage import store
from tutelage.corpus.documents import Document
from tutelage.corpus.sources import open_source

MINUTES_BASE, MINUTES_MIX = 10.0, 4.0
"""Of two processors: the model of books, and each mix."""
MIXES = {"domain alone": 1.0, "51% domain": 0.51, "25% domain": 0.25}
VOCABULARY = 2048
HELD_OUT = 0.05
"""Of conditions."""


def run(place: Place) -> Json:
    trained, apart, name = domain(place)
    data = prose(place)
    books = shares(data["train"])
    data |= {"held_out": {"domain": str(apart), **data.get("held_out", {})}}
    shape = {"depth": place.count(4, 1), "context": 256}
    tokenizer = {"vocabulary": place.count(VOCABULARY, 600)}
    base = described(place, shape, data, MINUTES_BASE, learning_rate=3e-3)
    record = place.raised("base", {**base, "tokenizer": tokenizer})
    mixes = {}
    for label, share in MIXES.items():
        weights = {"domain": share}
        if share < 1:
            weights |= {book: (1 - share) * part for book, part in books.items()}
        sources = {"domain": str(trained), **data["train"]}
        mixed = {**data, "train": {key: sources[key] for key in weights}, "weights": weights}
        start = {"start": place.model("base"), "context": 256}
        mixes[label] = {
            "share": share,
            **short(
                place.raised(
                    f"domain-{round(100 * share)}",
                    described(place, start, mixed, MINUTES_MIX, learning_rate=1e-3),
                )
            ),
        }
    return {
        "text": source_of(place),
        "domain": name,
        "minutes_base": MINUTES_BASE,
        "minutes_mix": MINUTES_MIX,
        "base": short(record),
        "mixes": mixes,
    }


def described(place: Place, model: Json, data: Json, minutes: float, **training: float) -> Json:
    return {
        "model": model,
        "data": data,
        "training": {
            "processor_minutes": place.processor_minutes(minutes),
            "batch_tokens": 4096,
            "micro_tokens": 4096,
            "optimizer": "muon",
            **training,
        },
    }


def shares(books: dict[str, str]) -> dict[str, float]:
    """Each by its size."""
    sizes = {
        name: sum(len(one.text) for one in open_source(source) if isinstance(one, Document))
        for name, source in books.items()
    }
    return {name: size / sum(sizes.values()) for name, size in sizes.items()}


def domain(place: Place) -> tuple[Path, Path, str]:
    """Files of documents to learn from and to be measured on, and what they are."""
    folder = medical(place)
    rows = questions(folder) if folder else code()
    files = (place.work / "domain-trained.jsonl", place.work / "domain-apart.jsonl")
    parts: tuple[list[str], list[str]] = ([], [])
    for subject, text in rows:
        draw = int(hashlib.sha256(subject.encode()).hexdigest()[:8], 16) / 16**8
        parts[draw < HELD_OUT].append(json.dumps({"text": text}) + "\n")
    place.work.mkdir(parents=True, exist_ok=True)
    for file, lines in zip(files, parts, strict=True):
        text = "".join(lines)
        if (
            not file.is_file() or file.read_text("utf-8") != text
        ):  # a new file would be a new source
            store.write_text(file, text)
    return *files, "medquad" if folder else "builtin:stdlib-source"


def questions(folder: Path) -> Iterator[tuple[str, str]]:
    """The condition that is asked about, and question and answer."""
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield row["focus"] or row["question"], f"{row['question']}\n{row['answer']}"


def code() -> Iterator[tuple[str, str]]:
    for one in open_source("builtin:stdlib-source"):
        if isinstance(one, Document):
            yield one.source or one.id, one.text
