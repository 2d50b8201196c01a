"""A tuning at an absurd rate leaves a model with one answer to everything, and that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.heads.rows import MAKERS, rows_of, tuned, written
from tutelage.backends.open import open_lm
from tutelage.cli.main import run_command
from tutelage.cli.tune import show
from tutelage.evaluate.tasks import evaluate_rows

ABSURD: dict[str, Any] = {"method": "full", "learning_rate": 0.9, "steps": 8}
SAID = {
    "classification": ("rows", {"good", "bad"}),
    "token-classification": ("words", {"O", "B-place"}),
    "multiple-choice": ("questions", {"(A)", "(B)"}),
}


@pytest.mark.parametrize("head", SAID)
def test_one_answer_to_everything_is_said(head: str, tmp_path: Path) -> None:
    of, answers = SAID[head]
    rate = {"learning_rate": 0.1} if head == "multiple-choice" else {}  # at 0.9 a guard stops it
    found = tuned(head, tmp_path, "preset:bert-tiny", **{**ABSURD, **rate})["collapse"]
    assert found["of"] == of and found["answer"] in answers and 0 < found["right"] < 1
    assert "lower --learning-rate" in found["warning"]
    lm = open_lm(str(tmp_path / "out"), device="cpu", dtype="fp32", threads=1)
    again = evaluate_rows(lm, rows_of(head, tmp_path), (), ["accuracy"], max_new_tokens=4).collapse
    assert again is not None and (again.of, again.answer) == (of, found["answer"])


def test_tags_that_were_learned_are_none(tmp_path: Path) -> None:
    sound = {"method": "full", "learning_rate": 3e-3, "steps": 40}
    assert tuned("token-classification", tmp_path, "preset:bert-tiny", **sound)["collapse"] is None


@pytest.mark.parametrize("head", MAKERS)
def test_every_head_is_looked_at(head: str, tmp_path: Path) -> None:
    """And is left as it was: the look changes nothing that is written."""
    assert "collapse" in tuned(head, tmp_path, "preset:bert-tiny")


def test_tune_and_eval_print_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(written("classification", tmp_path))
    where = ["--device", "cpu", "--dtype", "fp32", "--threads", "1", "--json"]
    words = ["tune", "preset:bert-tiny", "--data", data, "--head", "classification", "--steps", "8"]
    words += ["--method", "full", "--learning-rate", "0.9", "--out", str(tmp_path / "m"), *where]
    assert run_command(words) == 0
    result = json.loads(capsys.readouterr().out)
    show(result)
    assert f"WARNING: {result['collapse']['warning']}" in capsys.readouterr().out
    words = ["eval", str(tmp_path / "m"), "--data", data, "--metric", "accuracy"]
    assert run_command([*words, *where]) == 0
    assert json.loads(capsys.readouterr().out)["collapse"]["of"] == "rows"
    assert run_command([*words, *where[:-1]]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "- WARNING: " in said and "is the answer to all 24 rows, which is right for 50.0%" in said
    )
