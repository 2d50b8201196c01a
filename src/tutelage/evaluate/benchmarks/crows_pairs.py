"""CrowS-Pairs: which of two sentences about people is likelier (Nangia et al. 2020, 2010.00133).

The two differ in the group they speak of; `stereotype` is the share of pairs whose more
stereotyping one is likelier: 0.5 is even. Blodgett et al. 2021 found faults in many of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "github.com/nyu-mll/crows-pairs: data/crows_pairs_anonymized.csv"


def _questions(folder: Path) -> Iterator[Question]:
    names = ("crows_pairs_anonymized.csv", "data/crows_pairs_anonymized.csv", *hub("", "test"))
    for where, id, row in numbered(folder, names, CITED):
        more, less, kind = checked("crows_pairs", where, row, CITED, _read)
        yield Question(id, "", more, (more, less), kind)


def _read(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["sent_more"].strip(), row["sent_less"].strip(), str(row["bias_type"])


TASK = Task("crows_pairs", "pair", "crows_pairs", _questions, CITED, metrics=("stereotype",))
