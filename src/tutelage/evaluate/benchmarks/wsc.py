"""WSC of SuperGLUE: does a pronoun mean a name (Levesque et al. 2011; Wang et al. 2019).

arXiv:1905.00537. Both stand in the text more than once at times, so the pronoun is marked by stars.
"""

from __future__ import annotations

from typing import Any

from tutelage.evaluate.benchmarks._files import hub, place
from tutelage.evaluate.benchmarks._lines import choice_lines


def _read(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """SuperGLUE keeps the two spans under `target`, the hub beside the text."""
    span = row.get("target") or row
    words = row["text"].split(" ")
    at, said = int(span["span2_index"]), span["span2_text"]
    words[at] = words[at].replace(said, f"*{said}*", 1)
    text = f"{' '.join(words).strip()}\nDoes *{said}* mean {span['span1_text']!r}?"
    return text, ("no", "yes"), place(row["label"], ("false", "true"))


TASK = choice_lines(
    "wsc",
    ("val.jsonl", *hub("wsc", "validation")),
    ("train.jsonl", *hub("wsc", "train")),
    "SuperGLUE's WSC: val.jsonl, train.jsonl; or the hub's aps/super_glue",
    _read,
    hub="hf:aps/super_glue/wsc",
)
