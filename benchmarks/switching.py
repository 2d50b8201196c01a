"""Milliseconds to read an adapter and to switch between two, ours and peft's.

    python benchmarks/switching.py [--methods lora prompt-tuning] [--runs 15]

Ours writes adapters that nothing has trained, and both read the same folders: peft's `load_adapter`
and `set_adapter` beside `Switch.add` and `Switch.use`. The base is open before the clock starts;
runs alternate; the first of each is not counted. Printed are medians, as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from material import DATA, MODEL, prepare
from measure import environment

from tutelage.data.load import load
from tutelage.peft.switch import Switch
from tutelage.train.config import TuneConfig
from tutelage.train.prepare import prepare as request
from tutelage.train.prepare import working

NAMES = ("one", "other")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=["lora", "prompt-tuning", "prefix-tuning"])
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch:
        folder = prepare(MODEL, DATA, 2, 0, Path(scratch)).folder
        for method in given.methods:
            adapters = {
                name: _written(method, seed, Path(scratch)) for seed, name in enumerate(NAMES)
            }
            sides = {"ours": _ours(adapters), "peft": _theirs(folder, adapters)}
            took = [{name: side() for name, side in sides.items()} for _ in range(given.runs + 1)]
            found[method] = {
                name: {
                    what: round(median(one[name][what] for one in took[1:]), 3)
                    for what in ("read", "switch")
                }
                for name in sides
            }
    print(json.dumps({**environment(0), "runs": given.runs, "milliseconds": found}, indent=2))


def _written(method: str, seed: int, scratch: Path) -> Path:
    """An adapter as it begins."""
    rows = load(DATA).rows[:2]
    run = request(MODEL, rows, TuneConfig(method=method, steps=1, seed=seed), dtype="fp32")
    model, _ = working(run)
    folder = scratch / f"{method}-{seed}"
    folder.mkdir()
    run.write(model, folder)
    return folder


def _ours(adapters: dict[str, Path]) -> Callable[[], dict[str, float]]:
    from tutelage.checkpoints.build import build
    from tutelage.checkpoints.open import open_checkpoint

    checkpoint = open_checkpoint(MODEL)
    model = build(checkpoint)

    def run() -> dict[str, float]:
        switch = Switch(model, checkpoint)
        read = [_timed(lambda n=n, a=a: switch.add(n, a)) for n, a in adapters.items()]
        switch.use(NAMES[0])
        told = {"read": median(read), "switch": _timed(lambda: switch.use(NAMES[1]))}
        switch.use(None)
        return told

    return run


def _theirs(base: Path, adapters: dict[str, Path]) -> Callable[[], dict[str, float]]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    whole = PeftModel.from_pretrained(model, adapters[NAMES[0]], adapter_name="kept")

    def run() -> dict[str, float]:
        read = [
            _timed(lambda n=n, a=a: whole.load_adapter(a, adapter_name=n))
            for n, a in adapters.items()
        ]
        whole.set_adapter(NAMES[0])
        told = {"read": median(read), "switch": _timed(lambda: whole.set_adapter(NAMES[1]))}
        whole.set_adapter("kept")
        for name in NAMES:
            whole.delete_adapter(name)
        return told

    return run


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
