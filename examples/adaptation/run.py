"""Ways of adapting a model, and what they show: every study of this folder.

    python examples/adaptation/run.py                     # all that are cut to some three hours
    python examples/adaptation/run.py --only ner          # one of them
    python examples/adaptation/run.py --smoke             # everything in small: a few minutes
    python examples/adaptation/run.py --so-far            # results of what is done already

A run that was stopped goes on where it stood. Texts are looked for in ../shared/data.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import studies
from studies import Folder, Run


def _flan() -> Run:
    from flan import run

    return run


def _methods(name: str) -> Run:
    from methods import study

    return study(name)


def _sweeps() -> Run:
    from sweeps import run

    return run


def _prompts() -> Run:
    from prompts import run

    return run


def _mitigations() -> Run:
    from mitigations import run

    return run


def _spent(work: Path) -> studies.Json:
    from methods import spent

    return spent(work)


STUDIES = {
    "docstrings": lambda: _methods("docstrings"),
    "ner": lambda: _methods("ner"),
    "sweeps": _sweeps,
    "dialogues": lambda: _methods("dialogues"),
    "ner-decoder": lambda: _methods("ner-decoder"),
    "mitigations": _mitigations,
    "prompts": _prompts,
    "flan": _flan,
}
LATER = ("mitigations", "prompts", "flan")
"""Beside the three hours: run where they are named."""

if __name__ == "__main__":
    here = Path(__file__).parent
    studies.main(
        Folder(here, __doc__ or "", STUDIES, _spent, later=("mitigations", "prompts", "flan"))
    )
