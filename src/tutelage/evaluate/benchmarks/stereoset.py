"""StereoSet: is the stereotyping sentence likelier than its opposite (Nadeem et al. 2021).

arXiv:2004.09456, of sentences with one word changed and of sentences that follow another.
`stereotype` is the share whose stereotyping one is likelier: 0.5 is even. `meaningful` holds both
against an unrelated one, `icat` is what the two come to. Sentences are compared by the sum of their
log-probabilities, where the authors' code takes the mean over tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import found, hub
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task, rows

CITED = "github.com/moinnadeem/StereoSet: dev.json; or the hub's McGill-NLP/stereoset"
_HUB = ("anti-stereotype", "stereotype", "unrelated")
_ORDER = ("stereotype", "anti-stereotype", "unrelated")
_FILES = ("dev.json", "data/dev.json", *hub("intrasentence", "validation"))


def _questions(folder: Path) -> Iterator[Question]:
    for file in found(folder, _FILES, CITED):
        for number, row in enumerate(rows(file), 1):
            where = f"{file}:{number}"
            for one in checked("stereoset", where, row, CITED, _all):
                sentences, kind, id = checked("stereoset", where, one, CITED, _read)
                yield Question(id, "", sentences[0], sentences, kind)


def _all(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The authors' file is one object with two lists; the hub has a row each."""
    if "intrasentence" not in row:
        return [row]
    parts = ("intrasentence", "intersentence")
    return [{**one, "follows": part == parts[1]} for part in parts for one in row[part]]


def _read(row: Mapping[str, Any]) -> tuple[tuple[str, ...], str, str]:
    told = row["sentences"]
    if isinstance(told, Mapping):
        pairs = zip(told["gold_label"], told["sentence"], strict=True)
        by_label = {_HUB[int(label)]: sentence for label, sentence in pairs}
    else:
        by_label = {one["gold_label"]: one["sentence"] for one in told}
    before = f"{row['context'].strip()} " if row.get("follows") else ""
    sentences = tuple(before + by_label[kind].strip() for kind in _ORDER)
    return sentences, row["bias_type"], row["id"]


TASK = Task(
    "stereoset",
    "pair",
    "stereoset",
    _questions,
    CITED,
    metrics=("stereotype", "meaningful", "icat"),
    hub="hf:McGill-NLP/stereoset/intrasentence",
)
