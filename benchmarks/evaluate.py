"""A whole evaluation of real rows, zero-shot and greedy, against transformers' `generate`.

    python benchmarks/evaluate.py                   # --smoke to see that it runs

Wall time with the model loaded. Ours is everything `evaluate` does, scoring and intervals too; the
peer's is template, tokens, left-padded batches sorted by length, `generate` and text.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path

import ours
import peer_generate
from material import Material, prepare
from measure import Json, Measurement, Work, best, in_turn, sweep
from options import finish, parsed, parser, result

from tutelage.evaluate.tasks import items_of
from tutelage.score import METRICS

GOALS = {"speed": 3.0}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        material = prepare(options.model, options.data, options.rows, options.seed, Path(scratch))
        found = _compare(options, material)
    finish(options, "evaluate", {"evaluation": found})


def _options() -> argparse.Namespace:
    made = parser(__doc__, rows=200)
    made.add_argument("--max-new-tokens", type=int, default=48, help="longest answer")
    made.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64], help="the peer's")
    return parsed(made, {"rows": 6, "max_new_tokens": 8, "batches": [4], "tried": 1})


def _compare(options: argparse.Namespace, material: Material) -> Json:
    items = items_of(material.rows)
    prompts = [row.messages for row in material.rows]
    sides = {
        str(setting): partial(
            peer_generate.answer, material.folder, prompts, setting, options.max_new_tokens,
            options.threads,
        )
        for setting in peer_generate.settings(options.batches)[: options.tried]
    }  # fmt: skip
    tried = sweep(sides)
    chosen = best(tried)
    found = in_turn(
        partial(
            ours.evaluate, options.model, items, options.max_new_tokens,
            options.threads,
        ),
        chosen.side,
        pairs=options.pairs,
        threads=options.threads,
        work=_work(material),
        goals=GOALS,
    )  # fmt: skip
    notes = _notes(material, found)
    for run in (*found["ours"]["runs"], *found["peer"]["runs"]):
        del run["texts"]
    for one in tried:
        if one.measured:
            del one.measured.detail["texts"]
    return result("rows/s", tried, chosen, found, **notes)


def _work(material: Material) -> Work:
    """Products with the weights: every prompt and answer token, the head once an answer token."""
    size, rows = material.size, len(material.rows)

    def per_unit(found: Measurement) -> float:
        read, made = found.detail["prompt_tokens"], found.detail["answer_tokens"]
        return 2 * (size.body * (read + made) + size.head * made) / rows

    return Work("multiplying", per_unit)


def _notes(material: Material, found: Json) -> Json:
    mine, theirs = found["ours"]["runs"], found["peer"]["runs"]
    same = sum(
        a.strip() == b.strip() for a, b in zip(mine[0]["texts"], theirs[0]["texts"], strict=True)
    )
    answering = [b["seconds"] / a["answering_seconds"] for a, b in zip(mine, theirs, strict=True)]
    return {
        "seconds": f"ours {_median(mine, 'seconds'):.1f} of which answering "
        f"{_median(mine, 'answering_seconds'):.1f}, peer {_median(theirs, 'seconds'):.1f}",
        "answering_alone": f"{statistics.median(answering):.2f}x the peer's speed",
        "prompt_tokens": f"ours {mine[0]['prompt_tokens']}, peer {theirs[0]['prompt_tokens']}",
        "answer_tokens": f"ours {mine[0]['answer_tokens']}, peer {theirs[0]['answer_tokens']}",
        "same_text": f"{same} of {len(mine[0]['texts'])} rows",
        "ROUGE-L": f"ours {mine[0]['rougeL']:.4f}, peer {_rouge(material, theirs[0]['texts']):.4f}",
    }


def _median(runs: list[Json], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _rouge(material: Material, texts: list[str]) -> float:
    """The peer's answers measured as ours are: a fast side that says worse things would show."""
    metric = METRICS.get("rougeL")
    references = [row.completion or "" for row in material.rows]
    rows = metric.statistics(references, [text.strip() for text in texts])
    return float(metric.aggregate(rows.sum(axis=0)))


if __name__ == "__main__":
    main()
