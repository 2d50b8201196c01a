"""A judge over two evaluations: which answers it takes, in both orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.command import called
from tutelage.errors import DataError
from tutelage.evaluate.judge import Judged, preferred

COUNT = 12


def _file(path: Path, answer: str, count: int = COUNT, **more: Any) -> str:
    items = [
        {
            "id": f"i{n}", "prompt": [{"role": "user", "content": f"shown {n}"},
                                      {"role": "assistant", "content": "x"},
                                      {"role": "user", "content": f"question {n}"}],
            "reference": "r", "answer": f"{answer} {n}", "statistics": {"accuracy": [1, 1]}, **more,
        }
        for n in range(count)
    ]  # fmt: skip
    path.write_text(json.dumps({"items": items, "metrics": {"accuracy": {}}, "model": "m"}))
    return str(path)


def _judge(path: Path) -> str:
    """Takes the answer that is called good; of two bad ones the one that stands first."""
    rules = [
        {"match": "(?s)question.*Answer A:\\ngood.*Answer B:\\nbad", "reply": "A"},
        {"match": "(?s)question.*Answer A:\\nbad.*Answer B:\\ngood", "reply": "B"},
        {"match": "(?s)shown", "reply": "neither: it saw the examples"},
        {"match": "", "reply": "A"},
    ]
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return f"scripted:{path}"


def test_the_better_evaluation_is_found_in_both_places(tmp_path: Path) -> None:
    judge = _judge(tmp_path / "judge.jsonl")
    good, bad = _file(tmp_path / "a.json", "good"), _file(tmp_path / "b.json", "bad")
    done = called("judge", judge, "--answers", good, bad)
    assert done.code == 0 and done.found["verdict"] == "better" and done.found["difference"] == 1
    assert done.found["first_better"]["value"] == 1 and done.found["n"] == COUNT
    swapped = called("judge", judge, "--answers", bad, good)
    assert swapped.found["verdict"] == "worse" and swapped.found["second_better"]["value"] == 1
    even = called("judge", judge, "--answers", bad, _file(tmp_path / "c.json", "bad"))
    assert even.found["neither"]["value"] == 1 and even.found["verdict"] == "cannot tell"
    assert all(item["label"] is None for item in even.found["items"])


def test_what_cannot_be_judged_is_named(tmp_path: Path) -> None:
    judge = _judge(tmp_path / "judge.jsonl")
    good = _file(tmp_path / "a.json", "good")
    for more, field in (
        ([], "--data, --answers"), (["--answers", good], "--answers"),
        (["--answers", good, _file(tmp_path / "d.json", "bad", COUNT - 1)], "d.json"),
    ):  # fmt: skip
        done = called("judge", judge, *more)
        assert done.code == 2 and field in json.dumps(done.found["error"])
    broken = json.loads(Path(good).read_text())
    del broken["items"][0]["answer"]
    (tmp_path / "e.json").write_text(json.dumps(broken))
    done = called("judge", judge, "--answers", good, str(tmp_path / "e.json"))
    assert done.code == 2 and "i0" in done.found["error"]["field"]


def test_verdicts_are_counted() -> None:
    judged = [Judged(1, 1)] * 6 + [Judged(2, 2)] * 2 + [Judged(1, 2)] * 2
    found = preferred(judged)
    assert found["first_better"]["value"] == 0.6 and found["second_better"]["value"] == 0.2
    assert found["neither"]["value"] == 0.2 and found["difference"] == pytest.approx(0.4)
    with pytest.raises(DataError, match="too few"):
        preferred(judged[:1])
