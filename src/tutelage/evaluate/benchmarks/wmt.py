"""Translation between the texts of a WMT news test: one line a sentence (Kocmi et al. 2022).

The folder holds `source.LANGUAGE` and `reference.LANGUAGE`, plain text, as sacrebleu writes them:
`sacrebleu -t wmt22 -l en-de --echo src` and `--echo ref`. BLEU and chrF over all sentences.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tutelage.errors import DataError
from tutelage.evaluate.benchmarks._task import Question, Task

LANGUAGES = {
    "cs": "Czech", "de": "German", "en": "English", "es": "Spanish", "fr": "French",
    "ja": "Japanese", "ru": "Russian", "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip


def _questions(folder: Path) -> Iterator[Question]:
    (said, asked), (right, wanted) = _side(folder, "source"), _side(folder, "reference")
    if len(said) != len(right):
        raise DataError(
            "source and reference have different numbers of lines", field=str(folder),
            got=f"{len(said)} and {len(right)}",
        )  # fmt: skip
    for number, (text, answer) in enumerate(zip(said, right, strict=True)):
        prompt = f"Translate this from {asked} to {wanted}. Answer with the translation alone.\n\n"
        yield Question(f"wmt-{number}", prompt + text, answer)


def _side(folder: Path, name: str) -> tuple[list[str], str]:
    found = sorted(folder.glob(f"{name}.*"))
    language = LANGUAGES.get(found[0].suffix[1:]) if found else None
    if len(found) != 1 or language is None:
        raise DataError(
            f"one file {name}.LANGUAGE is needed", field=str(folder / name),
            got=", ".join(one.name for one in found) or "none",
            expected=f"LANGUAGE one of {', '.join(LANGUAGES)}",
        )  # fmt: skip
    return found[0].read_text(encoding="utf-8").splitlines(), language


TASK = Task(
    "wmt",
    "answer",
    "wmt",
    _questions,
    "sacrebleu's --echo: source.en, reference.de",
    form=str.strip,
    metrics=("bleu", "chrf"),
    max_new_tokens=256,
)
