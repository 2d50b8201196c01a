"""MTS-Dialog: a note from a talk of doctor and patient (Ben Abacha et al. 2023).

doi:10.18653/v1/2023.eacl-main.168; the validation set, as the test of the shared task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.evaluate.benchmarks._task import Question, Task, rows


def _part(file: str) -> Callable[[Path], Iterator[Question]]:
    def found(folder: Path) -> Iterator[Question]:
        for number, row in enumerate(rows(folder / f"{file}.csv")):
            text = f"Summarize this talk for a medical record.\n\n{row['dialogue'].strip()}"
            answer = row["section_text"].strip()
            yield Question(f"{file}-{number}", text, answer, source=row["section_header"])

    return found


TASK = Task(
    "mts_dialog",
    "answer",
    "mts_dialog",
    _part("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023"),
    "github.com/abachaa/MTS-Dialog: its CSV files",
    examples=_part("MTS-Dialog-ValidationSet"),
    form=str.strip,
    metrics=("rougeL", "rouge1", "bleu", "chrf"),
    max_new_tokens=128,
)
