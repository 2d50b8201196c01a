"""Ways of adapting a model, and what they show: every study of this folder.

    python examples/adaptation/run.py                     # all, about three hours on two cores
    python examples/adaptation/run.py --only flan         # one of them
    python examples/adaptation/run.py --smoke             # everything in small: a few minutes

A run that was stopped goes on where it stood. Budgets are minutes of two processors at the top of
each study's file; `--scale 0.5` halves all of them. Texts are looked for in ../shared/data.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "from_scratch"))

from study import DATA, ROOT, Place, written

STUDIES = ("flan",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=STUDIES, nargs="+", default=STUDIES)
    parser.add_argument("--smoke", action="store_true", help="everything in small")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "adaptation")
    parser.add_argument("--results", type=Path, help="results/ beside this file if not given")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets")
    asked = parser.parse_args()
    work = asked.work / "smoke" if asked.smoke else asked.work
    results = asked.results or (work if asked.smoke else Path(__file__).parent) / "results"
    if asked.smoke:
        shutil.rmtree(work, ignore_errors=True)
    for name in asked.only:
        place = Place(work / name, asked.data, asked.threads, asked.smoke, asked.scale)
        print(written(name, importlib.import_module(name).run, place, results), flush=True)


if __name__ == "__main__":
    main()
