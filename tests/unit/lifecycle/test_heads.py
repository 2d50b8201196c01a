"""A project whose models are given a head: encoders among its candidates, the majority to beat."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.backends.constant import Constant, ConstantLM
from tutelage.errors import RequestError
from tutelage.lifecycle import assemble, rungs
from tutelage.lifecycle.choose import Verdict
from tutelage.lifecycle.comparisons import Pair
from tutelage.lifecycle.compose import real_tools
from tutelage.lifecycle.majority import constant
from tutelage.lifecycle.project import Forgetting, Models, Project, Rows, Search, Task, Tuning
from tutelage.lifecycle.record import Record
from tutelage.lifecycle.run import run
from tutelage.lm import Request, complete

ENCODER, DECODER = "preset:bert-tiny", "preset:llama-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def record(folder: Path) -> dict[str, Any]:
    """Of a run with an encoder and a decoder, each tuned in one way."""
    lines = [
        {
            "text": f"{'fine' if n % 4 else 'awful'} soup {n * 37 % 1000}",
            "label": ["bad", "good"][n % 4 > 0],
        }
        for n in range(48)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    plan = Project(
        name="heads",
        task=Task(
            data=str(folder / "rows.jsonl"),
            metric="accuracy",
            rows=Rows(train=24, development=8, test=8),
        ),
        models=Models(candidates=[ENCODER, DECODER]),
        tuning=Tuning(head="classification", steps=2),
        forgetting=Forgetting(questions=1, instructions=0),
        search=Search(rungs=["bitfit"]),
    )
    return run(plan, out=folder / "run", tools=real_tools(plan, dtype="fp32", threads=1))


def of(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in record["candidates"] if one["name"] == name)


def test_an_encoder_is_a_candidate_with_a_head(record: dict[str, Any]) -> None:
    Record.model_validate(record)
    assert [one["name"] for one in record["candidates"]] == [
        "bert-tiny-majority", "llama-tiny-majority", "bert-tiny-zero-shot",
        "llama-tiny-zero-shot", "bert-tiny-bitfit", "llama-tiny-bitfit",
    ]  # fmt: skip
    asked = of(record, "bert-tiny-zero-shot")
    assert asked["status"] == "skipped" and "head alone" in asked["reason"]
    assert all(one["status"] == "done" for one in record["candidates"] if one is not asked)


def test_the_majority_is_what_others_are_compared_with(record: dict[str, Any]) -> None:
    found = of(record, "bert-tiny-majority")
    assert found["trained_parameters"] == 0 and found["predicted_peak_bytes"] is None
    assert found["test"]["accuracy"]["n"] == 8
    for name in ("bert-tiny-bitfit", "llama-tiny-zero-shot", "llama-tiny-bitfit"):
        own = name.split("-")[0] + "-tiny-majority"
        assert own in [one["against"] for one in of(record, name)["comparisons"]]
    assert record["recommended"]["rung"] != "majority"
    assert not any("majority" in name for name in record["detail"]["front"])


def test_the_majority_is_that_of_the_rows(record: dict[str, Any], folder: Path) -> None:
    file = folder / "run/candidates/bert-tiny-majority/development.json"
    answers = {one["answer"] for one in json.loads(file.read_text())["items"]}
    assert answers == {"good"}


@pytest.mark.parametrize(
    ("low", "p_value", "said"), [(0.01, 0.04, False), (-0.01, 0.04, True), (0.01, 0.05, True)]
)
def test_who_is_no_better_than_the_majority_is_told_so(
    low: float, p_value: float, said: bool
) -> None:
    tried: Any = [
        SimpleNamespace(name=name, rung=rungs.parse(name), limit=None)
        for name in ("majority", "zero-shot", "lora")
    ]
    pairs = [
        Pair("lora", "majority", 0.1, low, 0.2, p_value, "test"),
        Pair("lora", "zero-shot", 0.0, -0.1, 0.1, 1.0, "test"),
        Pair("zero-shot", "majority", 0.0, -0.1, 0.1, 1.0, "test"),
    ]
    reason = assemble._reason(tried, Verdict("lora", "The best.", None), pairs)
    told = (
        " It is not shown to be better than the answer that training rows have most often: "
        f"+0.100 ({low:+.3f} to +0.200) on test rows."
    )
    assert reason == "The best." + (told if said else "")


def test_forgetting_is_measured_below_the_head(record: dict[str, Any]) -> None:
    tuned = of(record, "llama-tiny-bitfit")
    assert tuned["forgetting"]["low"] <= tuned["forgetting"]["value"] <= tuned["forgetting"]["high"]
    assert tuned["forgetting"]["value"] != 0
    assert of(record, "bert-tiny-bitfit")["forgetting"] is None
    assert "not measured" in of(record, "bert-tiny-bitfit")["reason"]


def test_an_encoder_without_a_head_is_refused_with_the_way_out(tmp_path: Path) -> None:
    plan = Project(
        name="n", task=Task(data="builtin:stdlib-docstrings"), models=Models(candidates=[ENCODER])
    )
    with pytest.raises(RequestError) as caught:
        real_tools(plan, threads=1).describe(ENCODER)
    assert "[tuning] head" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("head", "answers", "expected"),
    [
        ("classification", ["b", "a", "b"], Constant("b")),
        ("classification", ["b", "a"], Constant("a")),
        ("token-classification", ["O B-x", "O", "B-x B-x"], Constant("B-x", each_word=True)),
        ("regression", ["1", "2", "6", "no number"], Constant("3")),
        ("question-answering", ["", "Rome", ""], Constant("")),
        (None, ["yes", "no", "yes"], Constant("yes")),
    ],
)
def test_the_best_answer_without_reading(
    head: str | None, answers: list[str], expected: Constant
) -> None:
    assert constant(head, answers) == expected


def test_a_constant_answers_every_word_where_tags_are_asked() -> None:
    asked = [Request("three words here", 1), Request("two words", 1)]
    told = complete(ConstantLM(Constant("O", each_word=True)), asked)
    assert [one.text for one in told] == ["O O O", "O O"]
    assert [one.text for one in complete(ConstantLM(Constant("a b")), asked)] == ["a b", "a b"]
    with pytest.raises(RequestError, match="no model"):
        ConstantLM(Constant("x")).embed(["text"])


def test_the_majority_is_a_rung_where_heads_are() -> None:
    assert [one.name for one in rungs.in_order(["lora"])] == ["zero-shot", "lora"]
    assert [one.name for one in rungs.in_order(["lora"], headed=True)] == [
        "majority", "zero-shot", "lora",
    ]  # fmt: skip
    assert rungs.parse("majority") == rungs.Rung("majority", None, "none")
