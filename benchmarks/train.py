"""Trained tokens a second and peak memory of tuning, against transformers and peft.

    python benchmarks/train.py --method lora        # or another; --smoke to see that it runs

Both sides learn the completions of the same real rows, each row once while the clock runs. First
every setting of the peer is tried on rows evenly spread over all lengths; then its fastest one and
ours alternate on all rows. Beside QLoRA stands peft's LoRA: the rounding that it needs for its own
is of a library that torch on a processor does not bring.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ours
import peer_train
from material import Material, prepare, spread
from measure import Json, Measurement, Side, Tried, Work, best, in_turn, sweep
from options import finish, parsed, parser, result
from peer import Adapter, Setting

from tutelage.models.catalogue import shape
from tutelage.peft import METHODS

GOALS = {
    "lora": {"speed": 5.0, "memory": 0.35},
    "qlora": {"speed": 1.0, "memory": 0.35},
    "full": {"speed": 4.0, "memory": 0.5},
    "prompt-tuning": {"speed": 5.0},
    "prefix-tuning": {"speed": 5.0},
}
SOFT = {"prompt-tuning": "PromptTuningConfig", "prefix-tuning": "PrefixTuningConfig"}
OURS = ("method", "seed", "checkpointing", "micro_batches")
"""Options that our side alone takes."""
TRAINED, FROZEN = 3, 2
"""Products a weight takes part in: forward, gradient of its input, and of itself if trained."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        material = prepare(options.model, options.data, options.rows, options.seed, Path(scratch))
        found = _compare(options, material, Path(scratch))
    finish(options, f"train {options.method}", {f"tuning, {options.method}": found})


def _options() -> argparse.Namespace:
    made = parser(__doc__, rows=192)
    made.add_argument("--method", choices=sorted(GOALS), required=True)
    made.add_argument(
        "--sweep-rows", type=int, default=48, help="rows each peer setting is tried on"
    )
    made.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8], help="peer batch sizes")
    made.add_argument("--checkpointing", action="store_true", help="ours: less memory, more time")
    made.add_argument("--micro-batches", type=int, default=1, help="ours: packs of one update")
    return parsed(made, {"rows": 8, "sweep_rows": 4, "batches": [4], "tried": 1})


def _compare(options: argparse.Namespace, material: Material, scratch: Path) -> Json:
    adapter, rate = _defaults(options.method, material)
    trial = spread(material.examples, options.sweep_rows)

    def side(examples: Any, setting: Setting) -> Side:
        return partial(
            peer_train.train, material.folder, examples, setting, adapter, rate, options.threads
        )

    settings = {str(one): one for one in peer_train.settings(options.batches)[: options.tried]}
    tried = sweep({name: side(trial, one) for name, one in settings.items()})
    eager = replace(settings[best(tried).setting], attention="eager")
    settings[str(eager)] = eager
    tried += sweep({str(eager): side(trial, eager)})
    chosen = best(tried)
    tuned = partial(
        ours.train, options.model, material.rows, scratch / "tuned", options.threads,
        {name: getattr(options, name) for name in OURS},
    )  # fmt: skip
    found = in_turn(
        tuned,
        side(material.examples, settings[chosen.setting]),
        pairs=options.pairs,
        threads=options.threads,
        work=_work(options.method, material),
        goals=GOALS[options.method],
    )
    return result("trained tokens/s", tried, chosen, found, **_notes(material, tried, found))


def _defaults(method: str, material: Material) -> tuple[Adapter | None, float]:
    """Our defaults, for the peer to use the same."""
    one = METHODS.get(method)
    if not one.adapter:
        return None, one.learning_rate
    resolved = one.resolve(one.settings(), material.weights, shape(material.checkpoint.config))
    if method in SOFT:
        return Adapter(SOFT[method], {"num_virtual_tokens": resolved.tokens}), one.learning_rate
    named = {w.hf_name.split(".")[-2] for w in material.weights if w.role in resolved.roles}
    given = {
        "r": resolved.rank, "lora_alpha": int(resolved.alpha), "lora_dropout": 0.0,
        "target_modules": sorted(named),
    }  # fmt: skip
    return Adapter("LoraConfig", given), one.learning_rate


def _work(method: str, material: Material) -> Work:
    """Products with the weights, of real tokens alone: two operations a weight and pass. Attention,
    padding, virtual tokens and sharing of a prefix are left out on both sides."""
    size = material.size
    read = sum(example.inputs for example in material.examples)
    trained = sum(example.trained for example in material.examples)
    passes = FROZEN if METHODS.get(method).adapter else TRAINED
    operations = 2 * passes * (size.body * read + size.head * trained)

    def per_unit(_: Measurement) -> float:
        return operations / trained

    return Work("multiplying", per_unit)


def _notes(material: Material, tried: list[Tried], found: Json) -> Json:
    mine, theirs = found["ours"], found["peer"]
    runs = mine["runs"]
    first = statistics.median(run["first_epoch_seconds"] for run in runs)
    seconds = statistics.median(run["seconds"] for run in theirs["runs"])
    read = sum(example.inputs for example in material.examples)
    trained = sum(example.trained for example in material.examples)
    least = min(one.measured.peak_bytes for one in tried if one.measured)
    return {
        "rows": f"{len(material.examples)}: {read} tokens read, {trained} trained",
        "tokens_read_a_second": f"ours {mine['speed'] * read / trained:,.0f}, "
        f"peer {theirs['speed'] * read / trained:,.0f}",
        "updates": f"ours {runs[0]['updates']}, peer {theirs['runs'][0]['updates']}",
        "first_epoch": f"{seconds / first:.2f}x the peer's speed, with what is slow only once",
        "memory_at_the_peers_thriftiest_setting": f"{mine['peak_bytes'] / least:.2f}x",
        "memory_predicted_for_ours": f"{runs[0]['predicted_peak_bytes'] / 1e9:.2f} GB",
        "loss": f"ours {_change(runs[0])}, peer {_change(theirs['runs'][0])}",
    }


def _change(run: Json) -> str:
    return f"{run['loss']['first']:.2f} to {run['loss']['last']:.2f}"


if __name__ == "__main__":
    main()
