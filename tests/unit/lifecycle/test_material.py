"""Every row that came in is in a part or counted under a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.lifecycle.fakes import write_rows
from tutelage.data.load import load
from tutelage.lifecycle.material import Material, prepare, within
from tutelage.lifecycle.project import Rows, Task

ROWS = [(f"what follows number {n} of the list?", f"number {n + 1}") for n in range(60)]


def made(**task: Any) -> Material:
    return prepare(
        Task(**{"rows": Rows(), **task}),
        0,
        lambda source, prompt, completion: load(source, prompt=prompt, completion=completion),
    )


def balance(material: Material) -> dict[str, int]:
    found = material.described()
    assert found["rows_used"] == found["train"] + found["development"] + found["test"]
    assert found["rows_in"] == found["rows_used"] + sum(found["set_aside"].values())
    return dict(found["set_aside"])


def test_rows_that_are_not_needed_are_counted_as_unused(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    sizes = Rows(train=20, development=5, test=5)
    assert balance(made(data=data, rows=sizes)) == {"unused": 30}
    assert balance(made(data=data)) == {}


def test_rows_removed_for_overlap_and_length_are_counted_each_once(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    train = write_rows(file, ROWS[:20])
    with file.open("a") as lines:
        lines.write("no JSON\n")
    material = made(
        train=train,
        development=write_rows(tmp_path / "development.jsonl", ROWS[20:30] + ROWS[:3]),
        test=write_rows(tmp_path / "test.jsonl", ROWS[30:40] + ROWS[3:5]),
    )
    reasons = {"bad-json": 1, "duplicate-of-training": 3, "contaminated": 2}
    assert balance(material) == reasons
    lengths = [10] * len(material.rows)
    lengths[0] = lengths[-1] = 1000
    assert balance(within(material, lengths, 100)) == {**reasons, "too-long": 2}
