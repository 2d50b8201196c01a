"""Precision and recall of every filter on a planted corpus, for tests and benchmarks/filters.py.

Recall: of what was planted for a filter, the share it finds. Precision: of all it finds, the share
that was planted, as junk of any kind for the rules on junk.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.unit.corpus.planted import CLEAN, JUNK, Planted, plant
from tutelage.corpus.decontaminate import Decontaminate
from tutelage.corpus.dedup import Exact, Near
from tutelage.corpus.documents import Document
from tutelage.corpus.filters import filter_steps
from tutelage.corpus.pii import KINDS, mask
from tutelage.corpus.pipeline import Step
from tutelage.corpus.quality import Classifier, train


@dataclass(frozen=True)
class Measured:
    """Counts of one filter: `wanted` were planted for it, `hits` of them found; `found` in all, of
    which `right` were planted."""

    name: str
    wanted: int
    hits: int
    found: int
    right: int

    @property
    def recall(self) -> float:
        return self.hits / self.wanted

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    def row(self) -> str:
        return (
            f"| {self.name} | {self.wanted} | {self.hits} | {self.recall:.3f} | "
            f"{self.found} | {self.right} | {self.precision:.3f} |"
        )


HEAD = (
    "| filter | planted for it | of these found | recall | found in all | rightly | precision |\n"
    "|---|---|---|---|---|---|---|"
)


def rules(corpus: Planted, settings: dict[str, dict[str, object]]) -> list[Measured]:
    """Every filter by itself, on clean texts and junk of all kinds."""
    junk = corpus.of(*JUNK)
    documents = [one for one in corpus.documents if corpus.kinds[one.id] in (CLEAN, *JUNK)]
    names = dict.fromkeys(name for _, names in JUNK.values() for name in names)
    measured = []
    for name in names:
        (step,) = filter_steps([name], {name: settings.get(name, {})})
        wanted = corpus.of(*(kind for kind, (_, for_it) in JUNK.items() if name in for_it))
        measured.append(_measured(name, removed(step, documents), wanted, junk))
    return measured


def repeats(corpus: Planted) -> list[Measured]:
    """Exact duplicates, and near ones among what is left, of clean texts and their repeats."""
    kinds = (CLEAN, "exact", "near", "similar")
    documents = [one for one in corpus.documents if corpus.kinds[one.id] in kinds]
    same = removed(Exact(), documents)
    near = removed(Near(), [one for one in documents if one.id not in same])
    return [
        _measured("exact duplicates", same, corpus.of("exact"), corpus.of("exact")),
        _measured("near duplicates", near, corpus.of("near"), corpus.of("near")),
    ]


def contamination(corpus: Planted) -> list[Measured]:
    """Documents that hold an item, and items that some document holds."""
    step = Decontaminate(corpus.items)
    step.count(corpus.documents)
    found = removed(step, corpus.documents)
    truth = corpus.of("contaminated")
    return [
        _measured("contaminated documents", found, truth, truth),
        _measured("test items given away", set(step.found), corpus.leaked, corpus.leaked),
    ]


def personal(corpus: Planted) -> list[Measured]:
    """Every kind of personal data, counted over all documents: a document's finds are right as far
    as it was planted with so many."""
    wanted, hits, found = (dict.fromkeys(KINDS, 0) for _ in range(3))
    for document in corpus.documents:
        planted = corpus.personal.get(document.id, [])
        masked, counts = mask(document.text)
        for kind, text in planted:
            wanted[kind] += 1
            hits[kind] += text not in masked
        for kind, count in counts.items():
            found[kind] += count
    return [
        Measured(f"personal data: {kind}", wanted[kind], hits[kind], found[kind],
                 min(found[kind], hits[kind])) for kind in KINDS
    ]  # fmt: skip


def classifier(texts: Sequence[str], seed: int = 1) -> Classifier:
    """Clean passages against word salad, from texts that the measured corpus must not hold."""
    corpus = plant(texts, seed, each=len(texts) // 2)
    return train(_texts(corpus, CLEAN), _texts(corpus, "word salad"))


def everything(texts: Sequence[str], folder: Path, each: int = 20) -> list[Measured]:
    """All filters. The classifier learns from one half of the texts and is measured on the other;
    it is written to `folder`."""
    half = len(texts) // 2
    classifier(texts[:half]).save(folder)
    corpus = plant(texts[half:], each=each)
    return [
        *rules(corpus, {"quality": {"model": str(folder)}}),
        *repeats(corpus),
        *contamination(corpus),
        *personal(corpus),
    ]


def removed(step: Step, documents: Sequence[Document]) -> set[str]:
    """The ids of what a step leaves out."""
    return {one.id for one in documents if isinstance(_after(step, one), str)}


def _after(step: Step, document: Document) -> Document | str:
    """A text of which a step leaves nothing is left out by the pipeline."""
    found = step(document)
    return found if isinstance(found, str) or found.text.strip() else "empty-text"


def _measured(
    name: str, found: set[str], wanted: Collection[str], right: Collection[str]
) -> Measured:
    return Measured(
        name, len(wanted), len(found & set(wanted)), len(found), len(found & set(right))
    )


def _texts(corpus: Planted, kind: str) -> list[str]:
    return [one.text for one in corpus.documents if corpus.kinds[one.id] == kind]
