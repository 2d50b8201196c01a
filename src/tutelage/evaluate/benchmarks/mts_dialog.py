"""MTS-Dialog: a note from a talk of doctor and patient (Ben Abacha et al. 2023).

doi:10.18653/v1/2023.eacl-main.168; the validation set, as the test of the shared task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/abachaa/MTS-Dialog: its CSV files"


def _part(file: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for where, id, row in numbered(folder, (f"{file}.csv",), CITED):
            talk, answer, section = checked("mts_dialog", where, row, CITED, _read)
            text = f"Summarize this talk for a medical record.\n\n{talk}"
            yield Question(id, text, answer, source=section)

    return found


def _read(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["dialogue"].strip(), row["section_text"].strip(), row["section_header"]


TASK = Task(
    "mts_dialog",
    "answer",
    "mts_dialog",
    _part("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023"),
    CITED,
    examples=_part("MTS-Dialog-ValidationSet"),
    form=str.strip,
    metrics=("rougeL", "rouge1", "bleu", "chrf"),
    max_new_tokens=128,
)
