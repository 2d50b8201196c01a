"""LoRA's ranks and targets, lengths and starts of prefixes, adapted layers, and rows to learn
from: one setting changed at a time, on names in short texts (WNUT17) with MiniLM.

Every cell has the learning rate that was best for its method there, as an hour does not hold a
search for each; the form of the rank table is that of Hu et al. 2021, arXiv:2106.09685, table 6,
and targets at equal size are those of its table 5.
"""

from __future__ import annotations

from typing import Any

from methods import best_rate, once
from studies import Place
from tasks import Task, task

from tutelage.train.config import TuneConfig

Json = dict[str, Any]
RANKS = (1, 4, 16, 64)
TARGETS = {
    "q": ["attn.q"], "q, v": ["attn.q", "attn.v"],
    "q, k, v, o": ["attn.q", "attn.k", "attn.v", "attn.o"],
}  # fmt: skip
SIZES = {"q": 8, "q, v": 4, "q, k, v, o": 2}
"""Targets, and the rank with which all updates are as large."""
LENGTHS = (1, 5, 20, 80)
STARTS: dict[str, Json] = {"words": {}, "random": {"start": "random"}, "network": {"hidden": 256}}
"""What 20 virtual tokens begin as; the network's begin at random."""
SLOWER = {"starts/network": 0.1}
"""Of the rate that is best without a network."""
LAYERS = {"last": [5], "last two": [4, 5], "last four": [2, 3, 4, 5], "first two": [0, 1]}
ROWS = (100, 300, 1000, 3000)
RATES = {"lora": "lora", "prefix-tuning": "prefix-tuning", "pfeiffer": "adapter"}
"""Whose rate is taken: Pfeiffer's networks are half of Houlsby's."""
SHARE = 0.5
"""Of the steps of the comparison of methods that a cell has."""


def run(place: Place) -> Json:
    """Quality of every cell; of those that are not done None."""
    made = task("ner", place)
    steps = max(2, round(made.steps * SHARE))
    made = Task(**{**vars(made), "steps": steps})
    best = {method: best_rate(place, "ner", source, True) for method, source in RATES.items()}
    tables: dict[str, Json] = {}
    for name, (method, options, rows) in _cells(made).items():
        table, _, key = name.partition("/")
        rate = best[method] * SLOWER.get(name, 1.0)
        found = _cell(made.limited(rows), name, method, options, rate, place)
        tables.setdefault(table, {})[key] = found
    return {"model": made.model, "steps": steps, "rates": best, **tables}


def _cells(made: Task) -> dict[str, tuple[str, Json, int]]:
    """Name -> method, its options, rows to learn."""
    rows = len(made.train)
    found: dict[str, tuple[str, Json, int]] = {}
    for count in ROWS:
        found[f"rows/{count}"] = ("lora", {}, min(count, rows))
    for target, roles in TARGETS.items():
        for rank in RANKS:
            found[f"ranks/{target}:{rank}"] = ("lora", {"roles": roles, "rank": rank}, rows)
    for target, rank in SIZES.items():
        options = {"roles": TARGETS[target], "rank": rank}
        found[f"sizes/{target}:{rank}"] = ("lora", options, rows)
    for length in LENGTHS:
        found[f"lengths/{length}"] = ("prefix-tuning", {"tokens": length}, rows)
    for name, start in STARTS.items():
        found[f"starts/{name}"] = ("prefix-tuning", start, rows)
    for name, layers in LAYERS.items():
        found[f"layers/{name}"] = ("pfeiffer", {"layers": layers}, rows)
    return found | {"layers/all": ("pfeiffer", {}, rows)}


def _cell(
    made: Task, name: str, method: str, options: Json, rate: float, place: Place
) -> Json | None:
    file = place.work / (name.replace("/", "-").replace(" ", "").replace(":", "-") + ".json")
    config = TuneConfig(
        method=method, options=options, learning_rate=rate, steps=made.steps,
        batch_tokens=made.batch_tokens, head=made.head, save_seconds=1e6,
    )  # fmt: skip
    return once(made, file, config, place)
