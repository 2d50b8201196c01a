"""TER, correlations, spans, semantic similarity and the traps, against witnesses."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from sacrebleu.metrics import TER

from tests.unit.score.texts import pairs
from tutelage.errors import ConfigError, DataError
from tutelage.score import METRICS
from tutelage.score._correlation import number
from tutelage.score._metric import Metric
from tutelage.score._traps import TRAPS, fallen, sprung
from tutelage.score.question_match import rows_by_question
from tutelage.score.semantic import learned, with_encoder
from tutelage.score.span_f1 import spans


def value(metric: str | Metric, references: Sequence[str], answers: Sequence[str]) -> float:
    found: Metric = METRICS.get(metric) if isinstance(metric, str) else metric
    return float(found.aggregate(found.statistics(references, answers).sum(axis=0)))


@pytest.mark.parametrize(
    "corpus",
    [
        ([""], [""]),
        (["a b c"], [""]),
        ([""], ["a b"]),
        (["a b c d e f"], ["e f a b c d"]),
        *(pairs(seed, 20) for seed in range(8)),
    ],
)
def test_ter_is_sacrebleus(corpus: tuple[list[str], list[str]]) -> None:
    references, answers = corpus
    expected = TER().corpus_score(answers, [references]).score / 100
    assert value("ter", references, answers) == pytest.approx(expected, abs=1e-12)


def test_ter_counts_a_moved_phrase_once() -> None:
    assert value("ter", ["a b c d e f"], ["e f a b c d"]) == pytest.approx(1 / 6)
    assert METRICS.get("ter").errors and METRICS.get("ter").limits is None


def labels(seed: int, names: str, count: int = 80) -> tuple[list[str], list[str]]:
    generator = random.Random(seed)
    true = [generator.choice(names) for _ in range(count)]
    return true, [t if generator.random() < 0.5 else generator.choice(names) for t in true]


@pytest.mark.parametrize("seed", range(10))
def test_matthews_of_two_classes_is_the_phi_coefficient(seed: int) -> None:
    true, got = labels(seed, "ab")
    phi = scipy.stats.pearsonr([t == "a" for t in true], [g == "a" for g in got]).statistic
    assert value("matthews", true, got) == pytest.approx(phi)


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_matthews_of_many_is_a_correlation_of_indicators(names: str) -> None:
    """Gorodkin's definition: covariances summed over classes."""
    true, got = labels(3, names)
    got[:4] = ["?", "??", "?", "?"]  # labels nobody has are one class of their own
    classes = [*names, "other"]
    folded = [g if g in names else "other" for g in got]
    x = np.array([[t == c for c in classes] for t in true], dtype=float)
    y = np.array([[g == c for c in classes] for g in folded], dtype=float)

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        return sum(float(np.cov(a[:, k], b[:, k])[0, 1]) for k in range(len(classes)))

    expected = covariance(x, y) / np.sqrt(covariance(x, x) * covariance(y, y))
    assert value("matthews", true, got) == pytest.approx(expected)


def test_matthews_at_its_ends() -> None:
    assert value("matthews", ["a", "b"], ["b", "a"]) == -1
    assert value("matthews", ["a", "a"], ["a", "a"]) == 0  # one class says nothing


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("seed", range(5))
def test_correlations_are_scipys(name: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    true = np.round(generator.normal(1e6, 2, 60), 1)
    got = np.round(true + generator.normal(0, 2, 60))  # with ties
    expected = getattr(scipy.stats, f"{name}r")(true, got).statistic
    texts = [f"about {value:.1f} points" for value in got]
    assert value(name, [str(v) for v in true], texts) == pytest.approx(expected, abs=1e-9)


def test_correlations_without_numbers() -> None:
    assert value("pearson", ["1", "2", "3"], ["x", "y", "z"]) == 0
    # The middle one says nothing and stands at the mean of the references.
    assert value("pearson", ["1", "2", "6"], ["1", "none", "6"]) == pytest.approx(
        scipy.stats.pearsonr([1, 2, 6], [1, 3, 6]).statistic
    )
    with pytest.raises(DataError) as raised:
        value("spearman", ["1", "many"], ["1", "2"])
    assert raised.value.got == "many"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.5 kg", 1234.5),
        ("-3", -3.0),
        ("it is .5", 0.5),
        ("4.", 4.0),
        ("1e3", 1000.0),
        ("no", None),
    ],
)
def test_a_number_is_read(text: str, expected: float | None) -> None:
    assert number(text) == expected


def chunks(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """conlleval's definition, tag by tag: where a chunk starts and where it ends."""
    found, start = set(), 0
    for place in range(len(tags) + 1):
        old = tags[place - 1] if place else "O"
        new = tags[place] if place < len(tags) else "O"
        (a, s), (b, t) = ((x[0], x[2:]) for x in (old, new))
        end = a in "ES" or (a in "BI" and b in "BSO") or (a != "O" and s != t)
        begin = b in "BS" or (a in "ESO" and b in "EI") or (b != "O" and s != t)
        if end and a != "O":
            found.add((s, start, place - 1))
        if begin:
            start = place
    return found


TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("PER", "LOC"))]


@pytest.mark.parametrize("seed", range(60))
def test_spans_are_conllevals(seed: int) -> None:
    generator = random.Random(seed)
    tags = [generator.choice(TAGS) for _ in range(generator.randrange(0, 12))]
    assert spans(tags) == chunks(tags)


def test_span_f1_asks_for_type_and_both_ends() -> None:
    reference = ["B-PER I-PER O B-LOC", "O B-LOC"]
    assert value("span_f1", reference, reference) == 1
    assert value("span_f1", reference, ["B-PER O O B-LOC", "O B-PER"]) == pytest.approx(2 / 6)
    assert value("span_f1", reference, ["B-PER I-PER", "B-LOC B-LOC B-LOC"]) == pytest.approx(4 / 6)
    assert value("span_f1", ["O O"], ["O O"]) == 0  # nothing to find


def test_semantic_similarity_takes_an_encoder() -> None:
    calls: list[list[str]] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        calls.append(list(texts))
        table = {"up": [0.0, 2.0], "north": [1.0, 1.0], "down": [0.0, -1.0], "": [0.0, 0.0]}
        return [table[text] for text in texts]

    metric = with_encoder(embed)
    found = metric.statistics(["up", "up", "up", "up"], ["up", "north", "down", ""])[:, 0]
    assert found == pytest.approx([1, np.sqrt(0.5), 0, 0])
    assert calls == [["up", "north", "down", ""]], "each text once"
    with pytest.raises(ConfigError) as raised:
        value("semantic", ["a"], ["a"])
    assert raised.value.field == "--encoder"


def test_a_learned_scorer_has_its_slot() -> None:
    metric = learned("mine", lambda references, answers: [0.25, 1.5])
    assert metric.name == "mine" and value(metric, ["a", "b"], ["c", "d"]) == 0.625


def test_traps_are_three_kinds_and_n_gram_metrics_fall_in() -> None:
    assert {trap.kind for trap in TRAPS} == {"negation", "paraphrase", "numbers"}
    for name in ("rougeL", "bleu", "chrf", "f1", "ter"):
        assert fallen(sprung(METRICS.get(name)))["all"] > 0.8
    # One that knows the right answers falls in nowhere, one that knows nothing everywhere.
    same = {trap.same for trap in TRAPS}
    knows = learned("knows", lambda _, answers: [float(a in same) for a in answers])
    nothing = learned("nothing", lambda _, answers: [0.5 for _ in answers])
    assert fallen(sprung(knows)) == dict.fromkeys(("negation", "paraphrase", "numbers", "all"), 0)
    assert fallen(sprung(nothing))["all"] == 1


def test_f1_of_yes_counts_yes_alone() -> None:
    metric = METRICS.get("yes_f1")
    true = ["yes", "yes", "no", "no", "Yes."]
    said = ["yes", "no", "yes", "no", " yes"]
    value = metric.aggregate(metric.statistics(true, said).sum(axis=0))
    assert value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert metric.aggregate(metric.statistics(["no"], ["no"]).sum(axis=0)) == 0


def test_a_question_is_right_where_all_its_parts_are() -> None:
    hits = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    rows = rows_by_question(hits, ["a", "b", "b", "a", "c"])
    assert METRICS.get("question_match").aggregate(rows.sum(axis=0)) == pytest.approx(2 / 3)


def test_clean_answers_have_no_listed_word() -> None:
    metric = METRICS.get("clean")
    said = ["have a nice day", "you IDIOT", "shitake mushrooms", ""]
    assert metric.statistics([""] * 4, said)[:, 0].tolist() == [1, 0, 1, 1]
