"""`eval` with tasks, chain of thought, votes, known training rows and a floor of extraction."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluate.test_verbs import Command
from tutelage.cli.main import run_command
from tutelage.data.rows import Row
from tutelage.evaluate.leaks import leaked
from tutelage.evaluate.run import Item
from tutelage.lm import Message


@pytest.fixture
def tutelage(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [
        {"id": f"r{k}", "prompt": f"What is {k} and 1?", "completion": str(k + 1)}
        for k in range(20)
    ]
    write(tmp_path / "rows.jsonl", rows)
    rules = [{"match": f"is {k} and", "reply": f"Well. The answer is {k + 1}."} for k in range(12)]
    write(tmp_path / "steps.jsonl", [*rules, {"match": "", "reply": "I wonder"}])
    gsm = tmp_path / "gsm8k"
    gsm.mkdir()
    write(
        gsm / "test.jsonl",
        [{"question": r["prompt"], "answer": f"s\n#### {r['completion']}"} for r in rows],
    )
    return tmp_path


def write(path: Path, values: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def test_chain_of_thought_on_rows(files: Path, tutelage: Command) -> None:
    model, data = f"scripted:{files}/steps.jsonl", files / "rows.jsonl"
    code, plain = tutelage("eval", model, "--data", data, "--metric", "exact_match")
    assert code == 0 and plain["metrics"]["exact_match"]["value"] == 0
    out = files / "cot.json"
    code, found = tutelage(
        "eval", model, "--data", data, "--metric", "exact_match", "--cot", "--out", out
    )
    assert code == 0 and found["extraction_rate"] == 0.6 and found["valid"]
    assert found["metrics"]["exact_match"]["value"] == 0.6
    assert found["settings"]["cot"] and found["settings"]["votes"] == 1
    stored = json.loads(out.read_text())["items"]
    assert "step by step" in stored[0]["prompt"][-1]["content"]
    assert stored[0]["said"] == ["Well. The answer is 1."] and stored[0]["answer"] == "1"


def test_below_the_floor_the_result_is_written_and_not_valid(
    files: Path, tutelage: Command
) -> None:
    out = files / "low.json"
    given = ("eval", f"scripted:{files}/steps.jsonl", "--data", files / "rows.jsonl", "--cot")
    code, found = tutelage(*given, "--min-extraction", "0.7", "--out", out)
    assert code == 1 and not found["valid"] and "60%" in found["reason"]
    stored = json.loads(out.read_text())
    assert stored["valid"] is False and len(stored["items"]) == 20 and "_exit" not in stored
    assert tutelage(*given, "--min-extraction", "0.6")[0] == 0


def test_votes_are_kept_with_their_agreement(files: Path, tutelage: Command) -> None:
    out = files / "votes.json"
    code, found = tutelage(
        *("eval", f"scripted:{files}/steps.jsonl", "--data", files / "rows.jsonl", "--cot"),
        *("--votes", "5", "--vote-threshold", "0.5", "--temperature", "0.9", "--out", out),
    )
    assert code == 0 and found["settings"]["votes"] == 5
    item = json.loads(out.read_text())["items"][0]
    assert len(item["said"]) == 6 and item["agreement"] == 1


def test_a_task_from_a_folder(files: Path, tutelage: Command) -> None:
    code, found = tutelage(
        *("eval", f"scripted:{files}/steps.jsonl", "--task", "gsm8k", "--data", files / "gsm8k"),
        *("--limit", "10"),
    )
    assert code == 0 and found["task"] == "gsm8k" and found["n"] == 10
    assert found["metrics"]["exact_match"]["value"] == 1 and found["how"] == "words"
    assert found["settings"]["max_new_tokens"] == 256
    assert {one["setting"] for one in found["published"]} >= {"Maj1@32"}
    assert run_command(
        ["eval", f"scripted:{files}/steps.jsonl", "--task=gsm8k", f"--data={files}/gsm8k"]
    ) == 0  # fmt: skip
    assert "published: GPT-4 0.920" in tutelage.capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("", "--data, --task"),
        ("--task gsm9k", "--task"),
        ("--task gsm8k --data nowhere", "--data"),
        ("--task gsm8k --metric bleu", "--metric"),
        ("--task gsm8k --examples x.jsonl", "--examples"),
        ("--task gsm8k --strict", "--strict"),
        ("--task gsm8k --data {files}/gsm8k --shots 3", "{files}/gsm8k/train.jsonl.gz"),
        ("--task text", "--data"),
        ("--task text --cot --data {files}/rows.jsonl", "--task"),
        ("--task text --data {files}/rows.jsonl", "MODEL"),
        ("--data {files}/rows.jsonl --written", "--written"),
        ("--data {files}/rows.jsonl --votes 0", "--votes"),
        ("--data {files}/rows.jsonl --temperature 0.5", "--temperature"),
        ("--data {files}/rows.jsonl --min-extraction 2", "--min-extraction"),
        ("--data {files}/rows.jsonl --metric ece", "--metric"),
        ("--data {files}/rows.jsonl --metric semantic", "--encoder"),
        ("--data {files}/rows.jsonl --encoder scripted:{files}/steps.jsonl", "--encoder"),
        ("--data {files}/rows.jsonl --trained-on no.jsonl", "no.jsonl"),
    ],
)
def test_wrong_requests_name_what_is_wrong(
    more: str, field: str, files: Path, tutelage: Command
) -> None:
    words = more.format(files=files).split()
    code, found = tutelage("eval", f"scripted:{files}/steps.jsonl", *words)
    assert code == 2 and found["error"]["field"] == field.format(files=files)


def test_rows_of_training_are_listed_and_scores_given_without(
    files: Path, tutelage: Command
) -> None:
    rows = [json.loads(line) for line in (files / "rows.jsonl").read_text().splitlines()]
    write(files / "train.jsonl", [{**row, "id": f"t{row['id']}"} for row in rows[:4]])
    code, found = tutelage(
        *("eval", f"scripted:{files}/steps.jsonl", "--data", files / "rows.jsonl", "--cot"),
        *("--metric", "exact_match", "--trained-on", files / "train.jsonl"),
    )
    leaks = found["contamination"]
    assert code == 0 and (leaks["n"], leaks["train_rows"]) == (20, 4)
    assert [(one["id"], one["train_id"]) for one in leaks["rows"]] == [
        (f"r{k}", f"tr{k}") for k in range(4)
    ]
    both = leaks["metrics"]["exact_match"]
    assert both["with"]["value"] == 0.6 and both["without"]["value"] == 0.5


WORDS = [f"{a}{b}" for a in "bcdfgklmnprst" for b in ("ab", "ed", "in", "ol", "un", "ar")]


def text(generator: random.Random, length: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(length))


def test_planted_items_are_found_with_this_recall() -> None:
    """Copies, near copies and long quotations of test items among 2,000 rows of training: all are
    found, also with every tenth word replaced. Nothing else is."""
    generator = random.Random(0)
    items = [Item(f"i{n}", text(generator, 60), text(generator, 8)) for n in range(120)]
    train = [
        Row(f"t{n}", "", (Message("user", text(generator, 60)),), text(generator, 8))
        for n in range(2000)
    ]
    planted = {"copy": 0, "quoted": 30, "edited": 60}
    for kind, start in planted.items():
        for place in range(start, start + 30):
            question, answer = str(items[place].prompt), items[place].reference
            if kind == "quoted":
                question = f"{text(generator, 40)} {' '.join(question.split()[:25])}"
                answer = text(generator, 8)
            elif kind == "edited":
                words = question.split()
                question = " ".join(w if n % 10 else "xx" for n, w in enumerate(words))
            messages = (Message("user", question),)
            train.insert(generator.randrange(2000), Row(f"p{place}", "", messages, answer))
    found = {leak.id: leak for leak in leaked(train, items)}
    recall = {
        kind: sum(f"i{n}" in found for n in range(start, start + 30)) / 30
        for kind, start in planted.items()
    }
    assert recall == {"copy": 1, "quoted": 1, "edited": 1}
    assert all(found[f"i{n}"].kind == "exact" for n in range(30))
    assert not [name for name in found if int(name[1:]) >= 90], "no false alarm"
    assert all(leak.train_id == f"p{leak.id[1:]}" for leak in found.values())


def test_items_said_in_other_words_are_found_by_meaning() -> None:
    vectors = {"sofa": [1.0, 0.0], "couch": [0.99, 0.05], "tree": [0.0, 1.0]}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [next(v for name, v in vectors.items() if name in one) for one in texts]

    train = [Row("t", "", (Message("user", "where is the couch"),), "here")]
    items = [Item("a", "where stands the sofa", "there"), Item("b", "what tree is it", "oak")]
    assert leaked(train, items) == []
    (found,) = leaked(train, items, embed)
    assert (found.id, found.train_id, found.kind) == ("a", "t", "meaning")
    assert found.similarity == pytest.approx(0.9987, abs=1e-3)
