"""Answers in TeX: what counts as the same, after the cases of MATH's authors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.evaluate.fakes import WordLM
from tutelage.evaluate.accepted import nearest
from tutelage.evaluate.benchmark import measure
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._math import same_tex, tex_answer
from tutelage.evaluate.benchmarks._task import Question
from tutelage.evaluate.settings import Settings
from tutelage.lm import Message
from tutelage.prompts.chain_of_thought import INSTRUCTION, boxed, solved, step_by_step
from tutelage.prompts.few_shot import Example


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{1}{2}", "1/2"), (r"\dfrac12", r"\frac{1}{2}"), ("0.5", r"\frac{1}{2}"),
        (r"\frac3{4}", r"\frac{3}{4}"), ("1,234", "1234"), (r"90^\circ", "90"), (r"50\%", "50"),
        (r"\$18", "18"), ("x = 5", "5"), (r"\left( 1, 2 \right)", "(1,2)"), ("2.50", "2.5"),
        (r"10\text{ cm}", "10"), (r"\text{Evelyn}", "Evelyn"), (r"\sqrt2", r"\sqrt{2}"),
        ("0.25", ".25"), ("7.", "7"),
    ],
)  # fmt: skip
def test_the_same(one: str, other: str) -> None:
    assert same_tex(one) == same_tex(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1/2", "1/3"), ("12", "1,2"), ("(1,2)", "(2,1)"), ("10", "1"), ("20.0", "2"), ("x", "y"),
     (r"\frac{1}{23}", r"\frac{12}{3}"), ("100", "1")],
)  # fmt: skip
def test_not_the_same(one: str, other: str) -> None:
    assert same_tex(one) != same_tex(other)


def test_the_last_whole_box_is_the_answer() -> None:
    assert boxed(r"\boxed{1} so \boxed{\frac{\sqrt{3}}{2}}") == r"\frac{\sqrt{3}}{2}"
    assert boxed(r"\fbox{4}") == "4" and boxed(r"\boxed{3} and \boxed{4") == "3"
    assert boxed("nothing") is None and boxed(r"\boxed{}") is None
    assert tex_answer(r"The answer is 3. So $\boxed{4}$.") == "4"
    assert tex_answer("The answer is $7$.") == "$7$" and tex_answer("so 7") is None


def test_several_right_answers_take_the_nearest() -> None:
    question = Question("q", "who", "Ann Lee", accepted=("Ann Lee", "Bob Ray"))
    assert nearest(question, "bob ray", str.lower) == "Bob Ray"
    assert nearest(question, "Mister Ray") == "Bob Ray" and nearest(question, "") == "Ann Lee"


def test_examples_of_steps_are_asked_as_the_question_is() -> None:
    asked = (Message("user", "2+2?"),)
    plain = solved(Example(asked, "4"))
    assert plain.messages == step_by_step(asked) and plain.completion == "The answer is 4."
    told = solved(Example(asked, "4"), "Two and two.")
    assert told.completion == "Two and two.\nThe answer is 4."
    for named in ("So it is 4. So the answer is 4.", "$\\boxed{4}$"):
        assert solved(Example(asked, "4"), named).completion == named
    assert solved(Example(asked, "so\n#### 4")).completion == "so\n#### 4"


class Asked(WordLM):
    def __init__(self) -> None:
        super().__init__(lambda prompt: "The answer is 3.")


def test_shown_examples_have_the_instruction_and_the_steps(tmp_path: Path) -> None:
    (tmp_path / "bbh").mkdir()
    (tmp_path / "cot-prompts").mkdir()
    rows = {"examples": [{"input": f"q{n}?", "target": "3"} for n in range(3)]}
    (tmp_path / "bbh" / "sums.json").write_text(json.dumps(rows))
    (tmp_path / "cot-prompts" / "sums.txt").write_text(
        "canary\n-----\nAdd.\n\nQ: 1+2?\nA: Let's think step by step.\nOne, two. "
        "So the answer is 3.\n\nQ: 1+1?\nA: Let's think step by step.\nOne. So the answer is 2.\n"
    )
    lm = Asked()
    found = measure(lm, TASKS.get("bbh"), tmp_path, Settings(shots=2, cot=True))
    assert found.evaluation.measured["exact_match"]["value"] == 1
    turns = lm.asked[0].prompt
    assert isinstance(turns, tuple)
    assert [INSTRUCTION in turn.content for turn in turns] == [True, False, True, False, True]
    assert "One, two." in turns[1].content and turns[3].content.endswith("the answer is 2.")
    lm.asked.clear()
    measure(lm, TASKS.get("bbh"), tmp_path, Settings(shots=2))
    assert [turn.content for turn in lm.asked[0].prompt][1::2] == ["3", "2"]  # type: ignore[union-attr]


def test_bbhs_examples_are_the_authors_with_their_steps() -> None:
    folder = Path("../shared/data/bbh")
    if not folder.is_dir():
        pytest.skip("../shared/data/bbh is not here")
    examples = TASKS.get("bbh").examples
    assert examples is not None
    found = list(examples(folder))
    assert len(found) == 81 and len({one.source for one in found}) == 27
    assert all(one.steps and one.answer and len(one.answer) < 80 for one in found)
