"""Models from nothing, and what they show: every study of docs/from_scratch.md.

    python examples/from_scratch/run.py                     # all, about four hours on two cores
    python examples/from_scratch/run.py --only prose        # one of them
    python examples/from_scratch/run.py --smoke             # everything in small: a few minutes
    python examples/from_scratch/draw.py                    # docs/from_scratch.md from the results

A run that was stopped goes on where it stood. Budgets are minutes of two processors at the top of
each study's file; `--scale 0.5` halves all of them. Texts are looked for in ../shared/data.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import studies
from studies import Folder, Run
from study import Place, training


def _named(name: str) -> Callable[[], Run]:
    return lambda: importlib.import_module(name).run


STUDIES = {name: _named(name) for name in ("prose", "domain", "encoders", "families", "scaling")}

if __name__ == "__main__":
    studies.main(Folder(Path(__file__).parent, __doc__ or "", STUDIES, training, Place))
