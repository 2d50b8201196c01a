"""On a corpus with planted junk, repeats, personal data and test items: precision and recall."""

from __future__ import annotations

import pytest

from tests.unit.corpus.documents import prose
from tests.unit.corpus.measured import Measured, contamination, everything, personal, repeats
from tests.unit.corpus.planted import CLEAN, JUNK, clean_texts, plant
from tutelage.corpus.filters import PRESETS, filter_steps
from tutelage.corpus.pipeline import Pipeline

for library in ("rensa", "py3langid", "profanity_check"):
    pytest.importorskip(library)

LEAST = {"recall": 0.95, "precision": 0.9}
QUALITY = {"recall": 0.35, "precision": 0.8}
"""Word salad against prose, learned from some 100 passages of each: the least of it is told."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    folder = tmp_path_factory.mktemp("classifier") / "c"
    return {one.name: one for one in everything(clean_texts(), folder)}


def test_every_filter_finds_what_was_planted_for_it(measured: dict[str, Measured]) -> None:
    for name, one in measured.items():
        least = QUALITY if name == "quality" else LEAST
        assert one.wanted >= 8, name
        assert one.recall >= least["recall"], one.row()
        assert one.precision >= least["precision"], one.row()


def test_nothing_is_measured_twice_or_left_out(measured: dict[str, Measured]) -> None:
    for_junk = {name for _, names in JUNK.values() for name in names}
    assert for_junk <= measured.keys()
    assert {"exact duplicates", "near duplicates", "contaminated documents"} <= measured.keys()


@pytest.mark.parametrize("seed", range(3))
def test_repeats_items_and_personal_data_in_other_prose(seed: int) -> None:
    corpus = plant([prose(10**4 * seed + n, 100) for n in range(200)], seed)
    for one in (*repeats(corpus), *contamination(corpus), *personal(corpus)):
        assert one.recall >= 0.95 and one.precision >= 0.95, one.row()


def test_the_whole_pipeline_leaves_little_but_what_is_clean() -> None:
    corpus = plant(clean_texts(), each=10)
    given = [one for one in corpus.documents if corpus.kinds[one.id] in (CLEAN, *JUNK)]
    steps = filter_steps((*PRESETS["web"], "language", "toxicity"), {})
    pipeline = Pipeline(given, steps)
    kept = [corpus.kinds[one.id] for one in pipeline]
    # Against word salad there is only the classifier.
    assert {kind for kind in kept if kind != CLEAN} <= {"word salad"}
    clean = sum(kind == CLEAN for kind in kept)
    assert clean / len(corpus.of(CLEAN)) >= 0.85
    first, *rest = pipeline.tallies
    assert first.rows_in == len(kept) + sum(tally.reasons.total() for tally in rest)
