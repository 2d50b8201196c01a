"""CPU seconds, user and system, of whole `tutelage plan` commands, from start to exit.

    python benchmarks/plan_cpu.py [--runs 15] [--model FOLDER]

Each command is a process of its own; Python's bytecode is there from a first run, as it is after
an installation, in a folder that is removed. Commands run by turns, so that a machine that drifts
drifts for all; the median and the least are printed, as JSON, beside Python alone and the parsing
library alone, which are the floor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

FLOOR = {"python": ("-c", "pass"), "python, cyclopts": ("-c", "import cyclopts")}
PLANS = (
    "memory --params 1e9",
    "memory --params 1e9 --json",
    "memory --model preset:gpt3-175b",
    "memory --model preset:gpt3-175b --json",
    "memory --model preset:llama-7b --train",
    "parameters --table course",
    "compute --model preset:llama-7b --tokens 1e12 --device a100",
    "scaling --params 70e9",
    "formats 3.141592",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--model", help="a model of yours beside the presets")
    given = parser.parse_args()
    own = [f"memory --model {given.model}"] if given.model else []
    plans = {f"plan {one}": ("-m", "tutelage", "plan", *one.split()) for one in (*PLANS, *own)}
    commands = {**FLOOR, "--version": ("-m", "tutelage", "--version"), **plans}
    with TemporaryDirectory() as folder:
        kept = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
        place = {**kept, "PYTHONPYCACHEPREFIX": folder}
        for arguments in commands.values():
            cpu_seconds(arguments, place)
        took = [
            {name: cpu_seconds(arguments, place) for name, arguments in commands.items()}
            for _ in range(given.runs)
        ]
    found = {name: sorted(one[name] for one in took) for name in commands}
    said = {
        name: {"median": round(median(each), 3), "least": round(each[0], 3)}
        for name, each in found.items()
    }
    print(json.dumps({"runs": given.runs, "cpu_seconds": said}, indent=2))


def cpu_seconds(arguments: tuple[str, ...], place: dict[str, str]) -> float:
    """Of one process and its children. Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=place, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
