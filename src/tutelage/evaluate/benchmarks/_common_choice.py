"""Multiple-choice sets as LLM-Adapters publishes them, and as the Allen Institute and the hub do.

Hu et al. 2023, arXiv:2304.01933: prompts whose options are parsed back, `Answer1: ...`,
`Option1: ...`. The others keep the stem, the choices and a letter apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tutelage.evaluate.benchmarks._lines import Read, choice_lines
from tutelage.evaluate.benchmarks._task import Task

CITED = "commonsense_mc of github.com/AGI-Edgerunners/LLM-Adapters: NAME_test.json"
_OPTION = re.compile(r"(?:Answer|Option|Solution|Ending)(\d+):\s*")


def choice_task(
    name: str,
    file: str,
    examples: str | None = None,
    *,
    read: Read | None = None,
    test: Sequence[str] = (),
    train: Sequence[str] = (),
    cited: str = "",
    hub: str = "",
) -> Task:
    """The task of `file`_test.json, or of what `test` and `train` fit; see `_files.py`."""
    of = f"{CITED.replace('NAME', file)}"
    return choice_lines(
        name,
        (f"{file}_test.json", *test),
        (f"{examples or file + '_train'}.json", *train) if examples or train else None,
        f"{of}; {cited}" if cited else of,
        read or either,
        folder="commonsense_mc",
        hub=hub,
    )


def either(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """A row of LLM-Adapters, or one of the Allen Institute's or the hub's."""
    return _numbered(row) if "instruction" in row else _lettered(row)


def _numbered(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Question, options and the right one's place of `... Answer1: a Answer2: b ...`."""
    text = row["instruction"].partition("Answer format:")[0]
    first = _OPTION.search(text)
    if first is None:
        raise ValueError("no options in a question")
    parts = [part.strip() for part in _OPTION.split(text[first.start() :])[2::2]]
    question = text[: first.start()].partition(":")[2].strip()
    return question, tuple(parts), _inside(int(row["answer"][-1]) - 1, parts)


def _lettered(row: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """`question` is the stem, or holds it with its choices; these are a list, or two lists."""
    asked = row["question"] if isinstance(row.get("question"), dict) else row
    stem = asked.get("stem") or row.get("question_stem") or row["question"]
    listed = asked["choices"]
    if isinstance(listed, dict):
        texts, letters = list(listed["text"]), list(listed["label"])
    else:
        texts, letters = ([one[key] for one in listed] for key in ("text", "label"))
    return stem.strip(), tuple(t.strip() for t in texts), letters.index(row["answerKey"])


def _inside(place: int, parts: Sequence[str]) -> int:
    if not 0 <= place < len(parts):
        raise ValueError(f"no such choice: {place + 1} of {len(parts)}")
    return place
