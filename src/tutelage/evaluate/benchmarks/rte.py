"""RTE of GLUE and SuperGLUE: does one sentence follow from another (Dagan et al. 2006).

Wang et al. 2018, arXiv:1804.07461; Wang et al. 2019, arXiv:1905.00537.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """GLUE says sentence1 and sentence2, SuperGLUE premise and hypothesis."""
    one, other = ("premise", "hypothesis") if "premise" in row else ("sentence1", "sentence2")
    text = f"{row[one].strip()}\nDoes it follow that: {row[other].strip()}"
    return text, ("yes", "no"), place(row["label"], ("entailment", "not_entailment"))


TASK = choice_lines(
    "rte",
    ("val.jsonl", "dev.tsv", *hub("rte", "validation")),
    ("train.jsonl", "train.tsv", *hub("rte", "train")),
    "SuperGLUE's RTE: val.jsonl, train.jsonl; GLUE's dev.tsv; or the hub's aps/super_glue",
    _read,
    hub="hf:aps/super_glue/rte",
)
