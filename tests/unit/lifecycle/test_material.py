"""Every row that came in is in a part or counted under a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle.fakes import write_rows
from tutelage.data.load import load
from tutelage.data.told import LISTED
from tutelage.errors import ConfigError, DataError
from tutelage.lifecycle.material import Material, prepare, within
from tutelage.lifecycle.project import Rows, Task

ROWS = [(f"what follows number {n} of the list?", f"number {n + 1}") for n in range(60)]


def made(**task: Any) -> Material:
    return prepare(
        Task(**{"rows": Rows(), **task}),
        0,
        lambda source, prompt, completion: load(
            source, prompt=prompt, completion=completion, answered=True
        ),
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


@pytest.mark.parametrize("template", ["{nothing}", "{prompt"])
def test_a_template_is_named_by_its_key(tmp_path: Path, template: str) -> None:
    data = write_rows(tmp_path / "rows.jsonl", ROWS)
    for key in ("prompt", "completion"):
        with pytest.raises(ConfigError, match=f"the {key} template") as caught:
            made(data=data, **{key: template})
        assert caught.value.field == f"task.{key}"


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
    places = {one["reason"]: one for one in material.described()["set_aside_rows"]}
    assert places["contaminated"]["where"].endswith("test.jsonl:12")
    assert places["contaminated"]["detail"].endswith("train.jsonl:5")
    assert places["bad-json"]["where"].endswith("train.jsonl:21")
    lengths = [10] * len(material.rows)
    lengths[0] = lengths[-1] = 1000
    assert balance(within(material, lengths, 100)) == {**reasons, "too-long": 2}


def test_rows_set_aside_are_listed_up_to_a_limit_of_each_reason(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    data = write_rows(file, ROWS)
    with file.open("a") as lines:
        lines.write("no JSON\n" * (LISTED + 50) + '{"text": "no answer"}\n')
    found = made(data=data).described()
    assert found["set_aside"] == {"bad-json": LISTED + 50, "no-answer": 1}
    assert len(found["set_aside_rows"]) == LISTED + 1
    assert found["set_aside_rows"][0]["where"].endswith("rows.jsonl:61")
    assert found["set_aside_rows"][-1]["reason"] == "no-answer"


def test_too_few_rows_say_what_became_of_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    data = write_rows(file, ROWS[:2])
    with file.open("a") as lines:
        lines.write("no JSON\n" * 3)
    with pytest.raises(DataError, match="cannot be split") as raised:
        made(data=data)
    assert str(raised.value.got) == "2 rows; 5 rows read; set aside: 3 bad-json"
    test = write_rows(tmp_path / "test.jsonl", ROWS[:1])
    with pytest.raises(DataError, match="no test rows are left") as raised:
        made(train=write_rows(file, ROWS), test=test)
    assert str(raised.value.got) == "61 rows read; set aside: 1 contaminated"
    assert "test.jsonl:1" in str(raised.value.hint) and "rows.jsonl:1" in str(raised.value.hint)
