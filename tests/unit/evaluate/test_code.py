"""Programs as answers: pass@k, programs found in what was said, answers that programs compute."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.unit.evaluate.fakes import WordLM, text_of
from tutelage.errors import ConfigError
from tutelage.evaluate.benchmark import measure
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._task import Question, Task
from tutelage.evaluate.settings import Settings
from tutelage.lm import Completion, Event, Message, Request
from tutelage.prompts.programs import function_found, program_asked, program_found
from tutelage.score._pass_at import pass_at, rows

HEAD = 'import math\n\ndef half(x):\n    return x / 2\n\ndef f(x):\n    """Twice x."""\n'
BROKEN = {f"MBPP/{n}" for n in (64, 160, 341, 367, 596, 601, 607, 631, 642, 927, 966)}
"""Fail by themselves: names that nobody defines, a head that is not Python, the order of a set,
sizes of another Python's objects, an expected text that a search-and-replace had changed."""


@pytest.mark.parametrize(("drawn", "passed", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 2), (6, 6, 6)])
def test_pass_at_k_is_the_share_of_all_draws_of_k(drawn: int, passed: int, k: int) -> None:
    hits = [True] * passed + [False] * (drawn - passed)
    draws = list(itertools.combinations(hits, k))
    assert pass_at(drawn, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert rows(drawn, [passed], k).tolist() == [[pass_at(drawn, passed, k), 1.0]]


def test_pass_at_more_than_were_drawn_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least k"):
        pass_at(3, 1, 5)


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ("    return 2 * x\n\nprint(f(3))\nf(", False),
        ("Sure:\n```python\ndef f(x):\n    return 2 * x\n```\nDone (", True),
        ("```\n    return 2 * x\n```", True),
        ("def f(x):\n    return 2 * half(x) * 2", True),
        ("```python\nimport os\n```\nthen\n```py\ndef f(x):\n    return x + x\n```", True),
    ],
)
def test_a_function_is_found_in_what_was_said(said: str, whole: bool) -> None:
    code = function_found(said, HEAD, "f", whole=whole)
    space: dict[str, Callable[[int], int]] = {}
    exec(str(code), space)
    assert space["f"](4) == 8
    assert function_found("  \n", HEAD, "f", whole=whole) is None


class Drawn(WordLM):
    """A third of the programs are right; one in three says nothing."""

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        for index, request in enumerate(requests):
            said = ("```\ndef f(x):\n    return 2 * x\n```", "def f(x): return 0", "")
            yield Completion(index, said[request.sampling.seed % 3], "stop", 1, 4)


def _task(test: str = "assert f(3) == 6") -> Task:
    questions = [Question(f"q{n}", HEAD, "    return 2 * x\n", test=test, name="f") for n in (0, 1)]
    return Task("t", "code", "t", lambda _: iter(questions), "nobody")


def test_of_drawn_programs_the_chances_are_measured() -> None:
    found = measure(Drawn(), _task(), Path(), Settings(samples=12))
    assert found.evaluation.measured["pass_at_1"]["value"] == pytest.approx(4 / 12)
    assert found.evaluation.measured["pass_at_10"]["value"] == 1.0, "only 8 of 12 are wrong"
    assert "pass_at_100" not in found.evaluation.measured
    outcomes = [one and one["status"] for one in found.details[0]["outcomes"]]
    assert outcomes == ["finished", "failed", None] * 4
    assert found.more["sandbox"]["missing"] == []


def test_a_program_that_leaves_early_has_not_passed() -> None:
    lm = WordLM(lambda _: "def f(x):\n    import os\n    os._exit(0)\n")
    found = measure(lm, _task(), Path(), Settings())
    assert found.evaluation.measured["pass_at_1"]["value"] == 0


@pytest.mark.parametrize("more", [{"cot": True}, {"votes": 2}, {"written": True}, {"pal": True}])
def test_settings_that_programs_do_not_have_are_refused(more: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="no effect on programs"):
        measure(Drawn(), _task(), Path(), Settings(**more))  # type: ignore[arg-type]


def test_an_answer_is_what_a_program_prints(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text('{"question": "2 and 3?", "answer": "#### 5"}\n' * 2)
    lm = WordLM(lambda _: "```python\nx = 2 + 3\nprint('so', x)\n```")
    found = measure(lm, TASKS.get("gsm8k"), tmp_path, Settings(pal=True, shots=2))
    assert found.evaluation.measured["exact_match"]["value"] == 1 and found.how == "program"
    asked = lm.asked[0].prompt
    assert text_of(asked).count("Write the program alone") == 3
    broken = WordLM(lambda _: "print(5")
    wrong = measure(broken, TASKS.get("gsm8k"), tmp_path, Settings(pal=True))
    assert wrong.evaluation.extraction_rate == 0


def test_programs_are_asked_for_behind_examples() -> None:
    turns = program_asked((Message("user", "How many?"),), 1)
    assert [turn.role for turn in turns] == ["user", "assistant", "user"]
    assert program_found(turns[1].content) == "eggs = 3 * 12\nbroken = 5\nprint(eggs - broken)"
    assert program_found(" ") is None


@pytest.mark.long
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_published_solutions_pass_their_tests(name: str, shared_data: Path) -> None:
    """Every canonical solution in the sandbox; some minutes."""
    task = TASKS.get(name)
    folder = shared_data / task.folder
    lm = Gold(list(task.questions(folder)))
    found = measure(lm, task, folder, Settings())
    wrong = {
        item.id
        for item, details in zip(found.evaluation.items, found.details, strict=True)
        if details["outcomes"][0]["status"] != "finished"
    }
    assert wrong <= BROKEN


class Gold(WordLM):
    """Goes on as the authors did; of a model without a chat template."""

    def __init__(self, questions: Sequence[Question]) -> None:
        super().__init__()
        self.known = {q.text: q.answer for q in questions}

    def capabilities(self):  # type: ignore[no-untyped-def]
        from tutelage.lm import Capabilities

        return Capabilities("gold")

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        for index, request in enumerate(requests):
            yield Completion(index, self.known[text_of(request.prompt)], "stop", 1, 4)
