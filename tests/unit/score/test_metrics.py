from __future__ import annotations

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from tests.unit.score.texts import pairs
from tutelage.errors import UnknownName
from tutelage.score import METRICS


def value(name: str, references: list[str], answers: list[str]) -> float:
    metric = METRICS.get(name)
    return float(metric.aggregate(metric.statistics(references, answers).sum(axis=0)))


TEXT = [
    name
    for name in METRICS.names()
    if (metric := METRICS.get(name)).reads == "text" and not metric.needs
]
"""Metrics of any text that need nothing handed in; numbers and tags have tests of their own."""
QUALITIES = [name for name in TEXT if METRICS.get(name).limits == (0.0, 1.0)]
CORNERS = [
    ([""], [""]),
    (["a b c d e"], [""]),
    ([""], ["a b c d e"]),
    (["a b"], ["a b"]),
    (["a b c d e f"], ["f e d c b a"]),
    (["猫が座る 。"], ["猫が座った 。"]),
    (["a b c d", "e"], ["a b c x", "e"]),
]


@pytest.mark.parametrize("name", QUALITIES)
def test_statistics_are_finite_rows_and_values_lie_in_0_1(name: str) -> None:
    metric = METRICS.get(name)
    assert metric.name == name
    references, answers = pairs(3, 40)
    statistics = metric.statistics(references, answers)
    assert statistics.shape[0] == 40 and statistics.dtype == float
    assert np.isfinite(statistics).all()
    weights = np.random.default_rng(0).multinomial(40, [1 / 40] * 40, size=(5, 7))
    values = metric.aggregate(weights @ statistics)
    assert values.shape == (5, 7)
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()
    assert values[2, 3] == pytest.approx(metric.aggregate(weights[2, 3] @ statistics))


@pytest.mark.parametrize("name", [name for name in TEXT if name not in ("ter", "honesty", "clean")])
def test_copies_are_perfect_and_nothing_in_common_is_zero(name: str) -> None:
    texts = ["alpha beta gamma delta epsilon", "one two three four five six"]
    assert value(name, texts, texts) == pytest.approx(1)
    assert value(name, texts, ["xyz xyz xyz xyz xyz", "qq qq qq qq qq"]) == 0


@pytest.mark.parametrize("corpus", [*CORNERS, *(pairs(seed, 30) for seed in range(25))])
def test_bleu_is_sacrebleus(corpus: tuple[list[str], list[str]]) -> None:
    references, answers = corpus
    expected = BLEU(force=True).corpus_score(answers, [references]).score / 100
    assert value("bleu", references, answers) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("corpus", [*CORNERS, *(pairs(seed, 30) for seed in range(25))])
def test_chrf_is_sacrebleus(corpus: tuple[list[str], list[str]]) -> None:
    references, answers = corpus
    expected = CHRF().corpus_score(answers, [references]).score / 100
    assert value("chrf", references, answers) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL"])
@pytest.mark.parametrize("corpus", [*CORNERS, *(pairs(seed, 30) for seed in range(5))])
def test_rouge_is_rouge_scores(kind: str, corpus: tuple[list[str], list[str]]) -> None:
    references, answers = corpus
    scorer = RougeScorer([kind], use_stemmer=False)
    scores = [scorer.score(r, a)[kind].fmeasure for r, a in zip(references, answers, strict=True)]
    assert value(kind, references, answers) == pytest.approx(np.mean(scores), abs=1e-12)


def test_exact_match_strips_and_no_more() -> None:
    assert value("exact_match", ["Yes", "Yes", "a"], [" Yes\n", "yes", ""]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        ("Positive", " positive.\n", True),
        ("very good", "Very\t  good!", True),
        ("Straße", "STRASSE", True),
        ("ﬁne", "fine", True),
        ("1", "-1-", True),
        (":-)", ":-)", True),
        (":-)", ":-(", False),
        ("positive", "not positive", False),
        ("positive", "", False),
    ],
)
def test_accuracy_compares_labels(reference: str, answer: str, same: bool) -> None:
    assert value("accuracy", [reference], [answer]) == same


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("the Eiffel Tower", "Eiffel tower.", 1.0),
        ("in the year 1889", "1889", 0.5),
        ("a b b", "b b b", 0.8),
        ("the", "an", 1.0),
        ("the", "tower", 0.0),
        ("tower", "", 0.0),
    ],
)
def test_f1_counts_common_tokens(reference: str, answer: str, expected: float) -> None:
    # "a" is an article: ("a b b", "b b b") is 2 of 2 and 2 of 3 tokens.
    assert value("f1", [reference], [answer]) == pytest.approx(expected)


def test_macro_f1_is_the_mean_over_labels_by_definition() -> None:
    generator = np.random.default_rng(0)
    labels = np.array(["red", "green", "blue", "rare"])
    references = labels[generator.choice(4, 200, p=[0.5, 0.3, 0.17, 0.03])]
    answers = np.where(generator.random(200) < 0.6, references, generator.choice(labels, 200))
    answers[:5] = "none of them"
    scores = []
    for label in set(references):
        hits = ((references == label) & (answers == label)).sum()
        precision = hits / (answers == label).sum()
        recall = hits / (references == label).sum()
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    assert value("macro_f1", list(references), list(answers)) == pytest.approx(np.mean(scores))


def test_macro_f1_leaves_out_labels_that_a_resample_lost() -> None:
    metric = METRICS.get("macro_f1")
    statistics = metric.statistics(["a", "b"], ["a", "x"])
    assert metric.aggregate(np.array([1, 0]) @ statistics) == 1
    assert metric.aggregate(np.array([1, 1]) @ statistics) == 0.5
    assert metric.aggregate(np.zeros(statistics.shape[1])) == 0


def test_names_keep_their_underscores_and_mistakes_are_answered() -> None:
    assert {"exact_match", "macro_f1", "rougeL", "bleu"} <= set(METRICS.names())
    with pytest.raises(UnknownName) as caught:
        METRICS.get("rougel", field="--metric")
    assert caught.value.hint == "did you mean 'rougeL'?"
    assert caught.value.field == "--metric"


@pytest.mark.parametrize("name", [n for n in METRICS.names() if not METRICS.get(n).needs])
def test_references_and_answers_must_be_as_many(name: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        METRICS.get(name).statistics(["a", "b"], ["a"])
