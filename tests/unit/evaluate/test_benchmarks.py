"""Benchmarks: gold answers reach the top of every metric, wrong ones the bottom; settings work."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.special

from tests.unit.evaluate.fakes import WordLM, text_of
from tests.unit.evaluate.published_rows import BESIDE, FILES, HUB, TABLES
from tutelage.errors import ConfigError, DataError, WorkError
from tutelage.evaluate.ask import ask
from tutelage.evaluate.benchmark import Result, measure
from tutelage.evaluate.benchmarks import TASKS
from tutelage.evaluate.benchmarks._numbers import last_number, same_number
from tutelage.evaluate.benchmarks._published import SCORES, published
from tutelage.evaluate.benchmarks._task import LETTERS, Question, Task
from tutelage.evaluate.choose import Choice, choose, read_texts
from tutelage.evaluate.run import Item
from tutelage.evaluate.settings import Settings
from tutelage.lm import Capabilities, Completion, Event, Prompt, Request, Score
from tutelage.prompts.chain_of_thought import final_answer
from tutelage.prompts.votes import voted
from tutelage.score import METRICS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small copy of every task's data, in its authors' form."""
    made = {}
    for name in TASKS.names():
        folder = made[name] = tmp_path_factory.mktemp(name)
        for more, text in BESIDE.get(name, {}).items():
            (folder / more).write_text(text)
        file, rows = FILES.get(name) or TABLES[name]
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(rows, str):
            path.write_text(rows)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif path.suffix == ".gz":
            text = "".join(json.dumps(row) + "\n" for row in rows)
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(json.dumps(rows))
    return made


EXACT = (
    "accuracy", "accuracy_per_byte", "exact_match", "pass_at_1", "stereotype", "question_match",
    "clean", "meaningful",
)  # fmt: skip


class Oracle(WordLM):
    """Knows every question's answer, or always gives another."""

    def __init__(self, task: Task, folder: Path, right: bool, scores: bool) -> None:
        self.questions = list(task.questions(folder))
        self.task, self.right, self.scores = task, right, scores
        super().__init__(self.say)

    def capabilities(self) -> Capabilities:
        # Programs go on where the head ends; the other kind is tried by itself.
        chat = self.task.kind != "code"
        return Capabilities("oracle", score=self.scores, chat=chat)

    def _asked(self, prompt: str) -> Question:
        return max(
            (q for q in self.questions if q.text and q.text.strip() in prompt),
            key=lambda q: prompt.rindex(q.text.strip()),
        )

    def say(self, prompt: str) -> str:
        question = self._asked(prompt)
        if question.test:
            return question.answer if self.right else "    return None\n"
        if not self.right:
            if not question.choices:
                return "You idiot. The answer is 999 qqq."
            wrong = next(n for n in range(len(question.choices)) if n not in question.rights)
            return f"The answer is {LETTERS[wrong]}."
        if question.choices:
            return f"The answer is {LETTERS[question.right]}."
        return (
            f"The answer is {question.answer}."
            if self.task.name not in ("mts_dialog", "wmt")
            else question.answer
        )

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        found = []
        for prompt, continuation in pairs:
            said = continuation.strip()
            if self.task.kind == "pair":
                known = any(q.answer == said for q in self.questions)
                if any(said in q.choices[2:] for q in self.questions):  # unrelated
                    found.append(Score(-20.0 if self.right else 0.0, 1, False))
                    continue
            else:
                question = self._asked(text_of(prompt))
                letter = LETTERS[question.right]
                known = said == (letter if self.task.letters else question.answer.strip())
                # Of several right answers the last is known too, a wrong model knows none of them.
                known |= said in (question.accepted[1:] if not self.right else ())
            found.append(Score(-1.0 if known == self.right else -9.0, 1, known))
        return found


def asked(name: str, folders: dict[str, Path], right: bool, scores: bool, **more: Any) -> Result:
    task = TASKS.get(name)
    lm = Oracle(task, folders[name], right, scores)
    return measure(lm, task, folders[name], Settings(**more))


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("name", TASKS.names())
def test_gold_answers_reach_the_top_and_wrong_ones_the_bottom(
    name: str, scores: bool, folders: dict[str, Path]
) -> None:
    if TASKS.get(name).kind == "pair" and not scores:
        with pytest.raises(ConfigError, match="probabilities"):
            asked(name, folders, True, scores)
        return
    for right in (True, False):
        found = asked(name, folders, right, scores).evaluation
        assert len(found.items) == 6 and found.valid
        for metric, value in found.measured.items():
            if metric in ("ece", "brier", "icat"):  # at their best in the middle
                continue
            exact = metric in EXACT
            assert value["value"] is not None
            if right:
                assert value["value"] == pytest.approx(1)
            else:
                assert value["value"] == 0 if exact else value["value"] < 0.3


@pytest.mark.parametrize("name", HUB)
def test_the_hubs_layout_is_read(name: str, tmp_path: Path) -> None:
    place, rows, answers = HUB[name]
    folder = tmp_path / Path(place).parent
    folder.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / f"{place}-00000-of-00001.parquet")
    found = list(TASKS.get(name).questions(tmp_path))
    assert [question.answer for question in found] == answers
    assert len({question.id for question in found}) == len(found)
    assert all(question.choices[question.right] == question.answer
               for question in found if question.choices)  # fmt: skip


@pytest.mark.parametrize("name", ["truthfulqa", "surge_toxicity"])
def test_naming_one_place_always_is_not_right_always(name: str, folders: dict[str, Path]) -> None:
    """TruthfulQA has the best answer first in every row, surge-ai the toxic rows before all."""
    asked = list(TASKS.get(name).questions(folders[name]))
    assert len({question.right for question in asked[:2]}) == 2


def test_every_task_of_the_registry_is_tried() -> None:
    assert {*FILES, *TABLES} == set(TASKS.names())


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        measure(WordLM(), TASKS.get("gsm8k"), tmp_path / "no", Settings())
    assert raised.value.got == str(tmp_path / "no") and "grade-school" in str(raised.value.expected)
    with pytest.raises(DataError, match=r"test\.jsonl"):
        measure(WordLM(), TASKS.get("gsm8k"), tmp_path, Settings())


@pytest.mark.parametrize("row", ['{"nothing": 1}', "3"])
@pytest.mark.parametrize("name", [name for name in TASKS.names() if name != "wmt"])
def test_rows_of_another_kind_are_named(name: str, row: str, tmp_path: Path) -> None:
    """Of every task but WMT's plain text: a file with its name, and rows that are not its."""
    task, file = TASKS.get(name), (FILES.get(name) or TABLES[name])[0]
    for more in (*BESIDE.get(name, {}), file):
        (tmp_path / more).parent.mkdir(parents=True, exist_ok=True)
        many = f"[{row}, {row}, {row}]" if more.endswith(".json") else f"{row}\n" * 3
        compressed = gzip.compress(many.encode()) if more.endswith(".gz") else many.encode()
        (tmp_path / more).write_bytes(compressed)
    with pytest.raises(DataError) as raised:
        measure(WordLM(), task, tmp_path, Settings())
    assert str(tmp_path) in str(raised.value.field) or raised.value.field == "--data"


def test_lines_end_at_a_line_feed_alone(tmp_path: Path) -> None:
    rows = [{"question": f"one\u2028two\u0085{n}", "answer": "so #### 4"} for n in range(2)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "test.jsonl").write_text(text)
    found = list(TASKS.get("gsm8k").questions(tmp_path))
    assert [question.text for question in found] == [row["question"] for row in rows]
    for name in ("source.en", "reference.de"):
        (tmp_path / name).write_text("one\u2028two\nthree\n")
    assert len(list(TASKS.get("wmt").questions(tmp_path))) == 2


def test_a_limit_is_spread_over_sources() -> None:
    questions = [Question(f"{s}{n}", "q", "a", source=s) for s in "xyz" for n in range(9)]
    task = Task("t", "answer", "t", lambda _: iter(questions), "nobody")
    found = measure(WordLM(), task, Path(), Settings(), limit=5)
    assert [item.id for item in found.evaluation.items] == ["x0", "x1", "y0", "y1", "z0"]


def test_confidence_is_a_softmax_over_choices() -> None:
    class Fixed(WordLM):
        def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
            return [Score(float(text), 1, False) for _, text in pairs]

    generator = np.random.default_rng(0)
    logs = generator.normal(0, 2, (200, 3)).round(3)
    right = generator.integers(0, 3, 200)
    found = choose(
        Fixed(),
        [Choice("q", tuple(map(str, row)), int(r)) for row, r in zip(logs, right, strict=True)],
    )
    p = scipy.special.softmax(logs, axis=1)
    assert np.allclose(np.stack(found.probabilities), p)
    assert found.places == tuple(p.argmax(axis=1))
    values = {
        name: float(METRICS.get(name).aggregate(rows.sum(axis=0)))
        for name, rows in found.statistics.items()
    }
    hits, sure = p.argmax(axis=1) == right, p.max(axis=1)
    assert values["accuracy"] == hits.mean()
    assert values["brier"] == pytest.approx(((p - np.eye(3)[right]) ** 2).sum(axis=1).mean())
    gap = 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        if inside.any():
            gap += inside.mean() * abs(hits[inside].mean() - sure[inside].mean())
    assert values["ece"] == pytest.approx(gap)


def test_a_probability_that_is_no_number_is_refused() -> None:
    class Broken(WordLM):
        def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
            return [Score(float("nan"), 1, False) for _ in pairs]

    with pytest.raises(WorkError, match="not a number"):
        choose(Broken(), [Choice("q", ("a", "b"), 0)])


def test_texts_are_read_in_bits_and_nats() -> None:
    found = read_texts(WordLM(probabilities={"x": 0.25}), [("a", " x x"), ("a", " y")])
    values = {n: float(METRICS.get(n).aggregate(rows.sum(axis=0))) for n, rows in found.items()}
    assert values["perplexity"] == pytest.approx((4 * 4 * 2) ** (1 / 3))
    assert values["bits_per_byte"] == pytest.approx((2 + 2 + 1) / 6)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Two and two. The answer is 4.", "4"),
        ("the answer is: **Paris**\nreally", "Paris"),
        ("First, the answer is 3. No: the answer is 5", "5"),
        ("so \\boxed{17} it is", "17"),
        ("steps\n#### 1,200", "1,200"),
        ("I do not know", None),
        ("The answer is", None),
    ],
)
def test_the_answer_behind_the_steps(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_numbers_are_read_and_compared() -> None:
    assert last_number("3 apples, then 4. So 7 apples.") == "7"
    assert last_number("The answer is 12 of the 30.") == "12"
    assert last_number("none") is None
    assert same_number("1,200.00") == same_number("1200") == "1200" and same_number("10") == "10"


def test_votes() -> None:
    assert voted(["4", "5", "4", None]) == "4"
    assert voted(["4", "5"]) == "4", "the first of equally many"
    assert voted(["4", "4", "5", "6"], greedy="9", threshold=0.6) == "9"
    assert voted(["4", "4", "4", "6"], greedy="9", threshold=0.6) == "4"
    assert voted([None, None], greedy="9") == "9" and voted([None]) is None
    assert voted(["Four ", "four", "x"], form=lambda t: t.strip().lower()) == "Four "


class Draws(WordLM):
    """Says another thing at every draw; greedily a third."""

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        for index, request in enumerate(requests):
            self.asked.append(request)
            seed, hot = request.sampling.seed, request.sampling.temperature
            text = ("yes", "no", "yes")[seed % 3] if hot else "greedy"
            yield Completion(index, f"The answer is {text}.", "stop", 1, 4)


def test_self_consistency_draws_and_counts() -> None:
    items = [Item("a", "q", "yes"), Item("b", "q", "yes")]
    lm = Draws()
    found = ask(lm, items, final_answer, str.strip, Settings(votes=3, cot=True))
    assert [answer.text for answer in found.answers] == ["yes", "yes"]
    assert found.agreement == (2 / 3, 2 / 3) and len(found.said[0]) == 3
    assert [r.sampling.seed for r in lm.asked] == [0, 1, 2] * 2
    unsure = ask(Draws(), items, final_answer, str.strip, Settings(votes=3, vote_threshold=0.9))
    assert [answer.text for answer in unsure.answers] == ["greedy", "greedy"]
    assert len(unsure.said[0]) == 4


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"votes": 0}, "--votes"),
        ({"shots": -1}, "--shots"),
        ({"temperature": 0.0, "votes": 2}, "--temperature"),
        ({"vote_threshold": 0.5}, "--vote-threshold"),
        ({"vote_threshold": 1.5, "votes": 2}, "--vote-threshold"),
        ({"max_new_tokens": 0}, "--max-new-tokens"),
    ],
)
def test_settings_out_of_range_are_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Settings(**more)
    assert raised.value.field == field


def test_published_scores_have_settings_and_tasks() -> None:
    assert {row[0] for row in SCORES} <= set(TASKS.names())
    assert all(0 < row[2] < 1 and row[3] and row[4] for row in SCORES)
    assert published("mmlu")[0]["setting"] == "CoT@32" and published("blimp") == []


def test_published_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for name, file, text, where in (
        ("hellaswag", "hellaswag_val.jsonl", '{"ctx": "a"}\n', "hellaswag_val.jsonl:1"),
        ("copa", "val.jsonl", '{"premise": "a", "question": "why"}\n', "val.jsonl:1"),
        ("drop", "drop_dataset_dev.json", '{"p": {}}', "drop_dataset_dev.json"),
        ("wmt", "source.xx", "a\n", "source"),
        ("piqa", "valid.jsonl", '{"goal": "g", "sol1": "a", "sol2": "b"}\n', "valid-labels.lst"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / file).write_text(text)
        with pytest.raises(DataError) as raised:
            list(TASKS.get(name).questions(folder))
        assert where in str(raised.value.field)
    (tmp_path / "piqa" / "valid-labels.lst").write_text("0\n1\n")
    with pytest.raises(DataError, match="do not fit"):
        list(TASKS.get("piqa").questions(tmp_path / "piqa"))
    (tmp_path / "wmt" / "source.xx").unlink()
    (tmp_path / "wmt" / "source.en").write_text("a\nb\n")
    (tmp_path / "wmt" / "reference.de").write_text("a\n")
    with pytest.raises(DataError, match="different numbers"):
        list(TASKS.get("wmt").questions(tmp_path / "wmt"))
