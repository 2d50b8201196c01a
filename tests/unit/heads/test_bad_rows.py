"""Rows that a head cannot learn or be measured on are named by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.heads.rows import tuned, written
from tutelage.cli.main import run_command
from tutelage.data.load import load

TUNE = ["tune", "preset:llama-tiny", "--device", "cpu", "--threads", "1", "--json"]


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run_command(list(arguments))
    return code, json.loads(capsys.readouterr().out)


def lines(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(path)


def test_one_label_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = lines(tmp_path, *[{"text": f"a {n}", "label": "x"} for n in range(3)])
    code, said = called(capsys, *TUNE, "--head", "classification", "--data", data, "--dry-run")
    assert code == 2 and said["error"]["field"] == f"{data}:1"
    assert "one label" in said["error"]["message"]


def test_an_unknown_head_is_refused_with_a_suggestion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lines(tmp_path, {"text": "a", "label": "x"})
    code, said = called(capsys, *TUNE, "--head", "clasification", "--data", data, "--dry-run")
    assert code == 2 and said["error"]["field"] == "--head"
    assert "classification" in said["error"]["hint"]


BAD = {
    "regression": ({"text": "a", "label": "many"}, "unknown-label"),
    "multiple-choice": ({"prompt": "which?", "completion": "a"}, "no-choices"),
    "question-answering": (
        {"prompt": "where?\n\nin Rome", "completion": "Oslo"}, "outside-text"
    ),
    "token-classification": ({"prompt": "two words", "completion": "O"}, "wrong-type"),
}  # fmt: skip


@pytest.mark.parametrize("head", BAD)
def test_rows_that_cannot_be_learned_are_set_aside_by_line(
    head: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row, reason = BAD[head]
    path = written(head, tmp_path, 8)
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    asked = [*TUNE, "--head", head, "--data", str(path), "--dry-run"]
    code, said = called(capsys, *asked)
    assert code == 0
    assert [(one["where"], one["reason"]) for one in said["set_aside"]] == [(f"{path}:9", reason)]
    assert said["preview"] and said["predicted_memory"]["adapter"] > 0
    code, said = called(capsys, *asked, "--strict")
    assert code == 2 and said["error"]["field"] == f"{path}:9"


def test_a_text_that_does_not_fit_is_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(4)]
    data = lines(tmp_path, *rows, {"text": "long " * 3000, "label": "x"})
    code, said = called(capsys, *TUNE, "--head", "classification", "--data", data, "--dry-run")
    assert code == 0 and [one["reason"] for one in said["set_aside"]] == ["too-long"]


def test_a_label_to_measure_on_that_the_head_has_not_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned("classification", tmp_path)
    data = lines(tmp_path, {"text": "the soup", "label": "good"}, {"text": "it", "label": "new"})
    code, said = called(
        capsys, "eval", "preset:llama-tiny", "--adapter", str(tmp_path / "out"), "--data", data,
        "--device", "cpu", "--threads", "1", "--json",
    )  # fmt: skip
    assert code == 2 and said["error"]["field"] == f"{data}:2" and said["error"]["got"] == "new"


def test_an_encoder_without_a_head_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lines(tmp_path, {"text": "a", "label": "x"}, {"text": "b", "label": "y"})
    code, said = called(capsys, "tune", "preset:bert-tiny", "--data", data, "--dry-run", "--json")
    assert code == 2 and "--head" in said["error"]["hint"]


def test_conll_files_are_texts_of_words_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("# about\nRome\tB-place\nis\tO\n\n\nalone\n\n-DOCSTART- O\n\na x\nb y")
    found = load(str(path))
    assert [(row.where, row.extra["tokens"], row.completion) for row in found.rows] == [
        (f"{path}:2", ["Rome", "is"], "B-place O"), (f"{path}:10", ["a", "b"], "x y")
    ]  # fmt: skip
    assert [(one.where, one.reason) for one in found.set_aside] == [(f"{path}:6", "wrong-columns")]
