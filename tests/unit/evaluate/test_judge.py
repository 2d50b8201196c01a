"""Judges whose faults are known show them; agreement is what people said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.contract.command import called
from tests.unit.evaluate.fakes import WordLM, text_of
from tutelage.errors import DataError
from tutelage.evaluate.judge import Judged, Pair, agreement, judge, kappa
from tutelage.evaluate.judge_data import pairs_of
from tutelage.lm import Capabilities, Prompt, Score

PAIRS = [
    Pair(f"p{n}", f"question {n}", *(("good", "bad") if n % 2 else ("bad", "good")),
         labels=(1 if n % 2 else 2,))
    for n in range(20)
]  # fmt: skip


class Written(WordLM):
    def capabilities(self) -> Capabilities:
        return Capabilities("words", chat=True)


class Scored(WordLM):
    """Likes the letter behind which the word `good` stands."""

    def score(self, pairs: list[tuple[Prompt, str]]) -> list[Score]:  # type: ignore[override]
        found = []
        for prompt, letter in pairs:
            best = _best(text_of(prompt))
            found.append(Score(-0.1 if letter.strip() == best else -3.0, 1, False))
        return found


def _best(prompt: str) -> str:
    return "A" if "Answer A:\ngood" in prompt else "B"


@pytest.mark.parametrize("lm", [Written(_best), Scored()])
def test_a_judge_that_reads_agrees_with_people(lm: WordLM) -> None:
    found = agreement(PAIRS, judge(lm, PAIRS))
    assert found["accuracy"]["value"] == found["agreement"]["value"] == 1
    assert found["consistent"]["value"] == 1 and found["kappa"] == 1
    assert found["first"]["value"] == 0.5 and found["people"] is None


def test_a_judge_that_takes_the_first_says_nothing() -> None:
    found = agreement(PAIRS, judge(Written(lambda _: "A"), PAIRS))
    assert found["accuracy"]["value"] == 0.5 and found["agreement"]["value"] == 0
    assert found["consistent"]["value"] == 0 and found["first"]["value"] == 1
    assert found["kappa"] == 0


def test_no_letter_is_no_verdict() -> None:
    found = judge(Written(lambda _: "Both are fine"), PAIRS[:2])
    assert found == [Judged(0, 0)] * 2 and found[0].verdict == 0


def test_kappa_is_its_definition_and_people_are_compared() -> None:
    assert kappa([1, 1, 2, 2], [1, 2, 1, 2]) == 0
    assert kappa([1, 1, 2, 0], [1, 1, 2, 1]) == pytest.approx((0.75 - 7 / 16) / (1 - 7 / 16))
    pairs = [Pair("a", "q", "x", "y", (1, 1, 2)), Pair("b", "q", "x", "y", (2, 1, 0))]
    assert [pair.label for pair in pairs] == [1, 0]
    both = [*pairs, Pair("c", "q", "x", "y", (2, 2, 2))]
    found = agreement(both, [Judged(1, 1)] * 3)
    assert found["n"] == 2 and found["people"] == pytest.approx((1 + 0 + 3) / 9)


def test_published_forms_are_read(tmp_path: Path) -> None:
    bar = [{"input": "i", "output_1": "a", "output_2": "b", "label": 2}]
    panda = [{"instruction": "i", "input": "more", "response1": "a", "response2": "b",
              "annotator1": 0, "annotator2": 1, "annotator3": 1}]  # fmt: skip
    (tmp_path / "bar.json").write_text(json.dumps(bar))
    (tmp_path / "panda.json").write_text(json.dumps(panda))
    rows = [{"prompt": "p", "chosen": "c", "rejected": "r"}] * 2
    (tmp_path / "z.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third, fourth = pairs_of(tmp_path)
    assert first.label == 2 and second.labels == (0, 1, 1) and second.instruction == "i\n\nmore"
    assert (third.first, third.label) == ("c", 1) and (fourth.first, fourth.label) == ("r", 2)
    (tmp_path / "bad.json").write_text('[{"a": 1}]')
    with pytest.raises(DataError) as raised:
        pairs_of(tmp_path / "bad.json")
    assert "bad.json:1" in str(raised.value.field)
    (tmp_path / "bad.json").write_text(json.dumps([bar[0] | {"label": "x"}]))
    with pytest.raises(DataError, match="label") as raised:
        pairs_of(tmp_path / "bad.json")
    assert "bad.json:1" in str(raised.value.field)


def test_the_verb_runs_on_a_script(tmp_path: Path) -> None:
    (tmp_path / "judge.jsonl").write_text('{"match": "A:\\\\ngood", "reply": "A"}\n'
                                          '{"match": ".", "reply": "B"}\n')  # fmt: skip
    rows = [{"input": f"i{n}", "output_1": "good", "output_2": "bad", "label": 1} for n in range(4)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    done = called(
        "judge", f"scripted:{tmp_path / 'judge.jsonl'}", "--data", str(tmp_path / "pairs.json"),
    )  # fmt: skip
    assert done.found["accuracy"]["value"] == 1 and len(done.found["items"]) == 4
