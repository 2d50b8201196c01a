"""An encoder and an encoder-decoder from nothing, tuned on labels beside themselves untrained.

The task: which book a paragraph is from, by one letter. Both starts of a model have the same shape,
tokenizer, rows and epochs; each has the learning rate that is best for it on rows apart.
"""

from __future__ import annotations

import string
from collections import defaultdict

import numpy as np
from judging import Reader, chosen, counted, opened, tuned
from study import Json, Place, short
from texts import paragraphs, prose, source_of

from tutelage.evaluate.statistics import compare, measured
from tutelage.models.forward import Model
from tutelage.score._metric import mean

MINUTES = 10.0
"""Of two processors, for each run, as FLOPs: the families are compared at equal ones."""
VOCABULARY = 2048
CONTEXT = 128
EPOCHS = 8
RATES = (3e-4, 1e-3, 3e-3)
TRAINED, CHOSEN_BY, TESTED = 30, 15, 75
"""Paragraphs of each book."""
MODELS = {
    "mlm": ("bert", "wordpiece", 3, 2e-3),
    "span": ("t5", "unigram", 2, 3e-3),
}
"""Objective: architecture, kind of tokenizer, layers (of each stack), learning rate."""
Rows = list[tuple[str, int]]


def run(place: Place) -> Json:
    sets = task(place)
    found = {name: family(place, name, sets) for name in MODELS}
    counts = {name: len(rows) for name, rows in sets.items()}
    classes = len({label for _, label in sets["train"]})
    return {
        "text": source_of(place),
        "minutes_each": MINUTES,
        "task": {"rows": counts, "classes": classes, "chance": 1 / classes},
        "models": found,
    }


def raised(place: Place, name: str) -> Json:
    """Pretrain one of the families on the books."""
    architecture, kind, depth, rate = MODELS[name]
    return place.raised(name, {
        "model": {
            "depth": place.count(depth, 1), "architecture": architecture, "context": CONTEXT,
        },
        "tokenizer": {"kind": kind, "vocabulary": place.count(VOCABULARY, 600)},
        "data": prose(place),
        "training": {
            "batch_tokens": 4096, "micro_tokens": 4096, "optimizer": "muon",
            "learning_rate": rate, "flops": place.flops(MINUTES),
        },
    })  # fmt: skip


def family(place: Place, name: str, sets: dict[str, Rows]) -> Json:
    record = raised(place, name)
    correct, told = {}, {}
    for start in ("pretrained", "random"):
        told[start], correct[start] = _start(place, name, sets, fresh=start == "random")
    compared = compare(correct["pretrained"], correct["random"], mean)
    return {
        "pretraining": short(record),
        **told,
        "difference": compared.as_json(),
    }


def _start(place: Place, name: str, sets: dict[str, Rows], fresh: bool) -> tuple[Json, np.ndarray]:
    """Tune with every rate; the one that is best on the rows to choose by is tested once."""
    model, reader = opened(place.model(name), fresh)
    letters = string.ascii_uppercase[: 1 + max(label for _, label in sets["train"])]
    answers = [reader.answer(letter) for letter in letters]
    rows = [reader.labelled(text, answers[label]) for text, label in sets["train"]]
    tried = []
    for rate in RATES[: place.count(3, 1)]:
        made = tuned(model, rows, rate=rate, epochs=place.count(EPOCHS, 1), seed=0)
        right = _right(made, reader, sets["choose"], answers)
        tried.append((float(right[:, 0].mean()), rate, made))
    best = max(tried, key=lambda one: one[0])
    right = _right(best[2], reader, sets["test"], answers)
    rates = [{"rate": rate, "accuracy": value} for value, rate, _ in tried]
    return {"accuracy": measured(right, mean), "rate": best[1], "rates": rates}, right


def _right(model: Model, reader: Reader, rows: Rows, answers: list[int]) -> np.ndarray:
    found = chosen(model, reader, [text for text, _ in rows], answers)
    wanted = [label for _, label in rows]
    return counted(np.array(found) == np.array(wanted))


def task(place: Place) -> dict[str, Rows]:
    """Paragraphs with the number of their book, as many of each, none in two sets."""
    by_book: dict[str, list[str]] = defaultdict(list)
    for text, book in paragraphs(place):
        by_book[book].append(text)
    sizes = {
        "train": place.count(TRAINED, 4), "choose": place.count(CHOSEN_BY, 2),
        "test": place.count(TESTED, 4),
    }  # fmt: skip
    books = [name for name, texts in sorted(by_book.items()) if len(texts) >= sum(sizes.values())]
    sets: dict[str, Rows] = {}
    at = 0
    for name, size in sizes.items():
        sets[name] = [
            (text, label)
            for label, book in enumerate(books[:8])
            for text in by_book[book][at : at + size]
        ]
        at += size
    return sets
