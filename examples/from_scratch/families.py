"""The three families at equal FLOPs on a task none was trained for: which sentence is grammatical?

BLiMP's pairs differ in a few words; a model prefers the sentence it finds likelier, with all tokens
in turn (decoder) or each one hidden (encoder, encoder-decoder). Without BLiMP the pairs are
sentences of the text and the same with two neighbouring words exchanged.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
from encoders import CONTEXT, MINUTES, VOCABULARY, raised
from judging import opened, preferred
from study import Json, Place, short
from texts import paragraphs, prose, source_of

from tutelage.evaluate.statistics import compare, holm, measured
from tutelage.score._metric import mean

PAIRS = 150
"""Of each paradigm."""
Pair = tuple[str, str, str]


def run(place: Place) -> Json:
    other = replace(place, work=place.work.parent / "encoders")
    records = {"clm": decoder(place), "mlm": raised(other, "mlm"), "span": raised(other, "span")}
    models = {"clm": place.model("clm"), "mlm": other.model("mlm"), "span": other.model("span")}
    pairs, task = sentences(place)
    right = {}
    for name, folder in models.items():
        model, reader = opened(folder, fresh=False)
        right[name] = preferred(model, reader, [pair[:2] for pair in pairs])
    return {
        "text": source_of(place),
        "minutes_each": MINUTES,
        "task": task,
        "models": {
            name: {
                "pretraining": short(record),
                "accuracy": measured(right[name], mean),
                "by_paradigm": by_paradigm(right[name], pairs),
            }
            for name, record in records.items()
        },
        "differences": differences(right),
    }


def decoder(place: Place) -> Json:
    return place.raised("clm", {
        "model": {"depth": place.count(3, 1), "context": CONTEXT},
        "tokenizer": {"vocabulary": place.count(VOCABULARY, 600)},
        "data": prose(place),
        "training": {
            "batch_tokens": 4096, "micro_tokens": 4096, "optimizer": "muon",
            "learning_rate": 3e-3, "flops": place.flops(MINUTES),
        },
    })  # fmt: skip


def sentences(place: Place) -> tuple[list[Pair], str]:
    """The right sentence, the wrong one and what they show; and the task's name."""
    folder = place.data / "blimp"
    count = place.count(PAIRS, 3)
    if not folder.is_dir():
        return [
            (text, swapped(text), "word order") for text, _ in paragraphs(place)[: 8 * count]
        ], ("words exchanged")
    found = []
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in itertools.islice(lines, count)]
        found += [(row["sentence_good"], row["sentence_bad"], row["UID"]) for row in rows]
    return found, "BLiMP"


def swapped(text: str) -> str:
    """Two neighbouring words in the middle exchanged."""
    words = text.split(" ")
    middle = len(words) // 2
    words[middle - 1 : middle + 1] = words[middle - 1 : middle + 1][::-1]
    return " ".join(words)


def by_paradigm(right: np.ndarray, pairs: list[Pair]) -> dict[str, float]:
    found = defaultdict(list)
    for value, (_, _, paradigm) in zip(right[:, 0], pairs, strict=True):
        found[paradigm].append(float(value))
    return {name: float(np.mean(values)) for name, values in sorted(found.items())}


def differences(right: dict[str, np.ndarray]) -> list[Json]:
    """Every two families on the same pairs, corrected for looking three times."""
    couples = list(itertools.combinations(right, 2))
    compared = [compare(right[a], right[b], mean) for a, b in couples]
    adjusted = holm([one.p_value for one in compared])
    return [
        {"a": a, "b": b, "p_adjusted": p, **one.as_json()}
        for (a, b), one, p in zip(couples, compared, adjusted, strict=True)
    ]
