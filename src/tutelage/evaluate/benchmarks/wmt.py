"""Translation between the texts of a WMT news test: one line a sentence (Kocmi et al. 2022).

A folder holds `source.LANGUAGE` and `reference.LANGUAGE`, plain text, as sacrebleu writes them:
`sacrebleu -t wmt22 -l en-de --echo src` and `--echo ref`. The hub's rows hold both under
`translation`; the first language named is translated into the second. BLEU and chrF over all
sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._files import hub, numbered
from tutelage.evaluate.benchmarks._lines import checked
from tutelage.evaluate.benchmarks._task import Question, Task

CITED = "sacrebleu's --echo: source.en, reference.de; or the hub's wmt/wmt14"
_FILES = hub("*", "test")

LANGUAGES = {
    "cs": "Czech", "de": "German", "en": "English", "es": "Spanish", "fr": "French",
    "ja": "Japanese", "ru": "Russian", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip


def _questions(folder: Path) -> Iterator[Question]:
    if not any(folder.glob("source.*")) and any(any(folder.glob(name)) for name in _FILES):
        yield from _of_hub(folder)
        return
    (said, asked), (right, wanted) = _side(folder, "source"), _side(folder, "reference")
    if len(said) != len(right):
        raise DataError(
            "source and reference have different numbers of lines", field=str(folder),
            got=f"{len(said)} and {len(right)}",
        )  # fmt: skip
    for number, (text, answer) in enumerate(zip(said, right, strict=True)):
        yield Question(f"wmt-{number}", _prompt(asked, wanted, text), answer)


def _of_hub(folder: Path) -> Iterator[Question]:
    for where, id, row in numbered(folder, _FILES, CITED):
        (asked, text), (wanted, answer) = checked("wmt", where, row, CITED, _both)
        yield Question(f"wmt-{id}", _prompt(asked, wanted, text), answer)


def _both(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(LANGUAGES[name], row["translation"][name]) for name in row["translation"]]


def _prompt(asked: str, wanted: str, text: str) -> str:
    return f"Translate this from {asked} to {wanted}. Answer with the translation alone.\n\n{text}"


def _side(folder: Path, name: str) -> tuple[list[str], str]:
    found = sorted(folder.glob(f"{name}.*"))
    language = LANGUAGES.get(found[0].suffix[1:]) if found else None
    if len(found) != 1 or language is None:
        raise DataError(
            f"one file {name}.LANGUAGE is needed", field=str(folder / name),
            got=", ".join(one.name for one in found) or "none",
            expected=f"LANGUAGE one of {', '.join(LANGUAGES)}",
        )  # fmt: skip
    # A line ends at a line feed alone: other ends of lines may stand within a sentence.
    lines = found[0].read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return lines, language


TASK = Task(
    "wmt",
    "answer",
    "wmt",
    _questions,
    CITED,
    form=str.strip,
    metrics=("bleu", "chrf"),
    max_new_tokens=256,
    hub="hf:wmt/wmt14/de-en",
)
