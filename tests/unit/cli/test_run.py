"""What `run` prints for people."""

from __future__ import annotations

import pytest

from tests.unit.lifecycle import example_record
from tutelage.cli.run import show


def test_a_candidate_over_the_memory_limit_is_marked_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    record = example_record.record()
    result = {**record, "metric": record["detail"]["metric"]}
    show(result)
    plain = capsys.readouterr().out
    assert "over budget" not in plain and "- few-shot:" not in plain
    few = record["candidates"][2]
    few["over_budget"], few["reason"] = True, "measured; it took 7.00 GB of memory"
    show(result)
    page = capsys.readouterr().out
    assert "over budget" in page and "- few-shot: measured; it took 7.00 GB of memory" in page
    assert "recommended" in page
