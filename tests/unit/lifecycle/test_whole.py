"""A record from which any key was deleted gives neither a report nor a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contract_run import planted
from tests.unit.lifecycle import damage, example_record
from tests.unit.lifecycle.test_ladder import plan
from tutelage import store
from tutelage.errors import GuardError
from tutelage.lifecycle.card import write_card
from tutelage.lifecycle.project import Limits
from tutelage.lifecycle.report import write_report
from tutelage.lifecycle.run import run


def example(folder: Path) -> dict[str, Any]:
    record = example_record.record()
    for each in record["detail"]["candidates"].values():
        if each["training"]:
            each["training"]["curve"] = each["training"]["curve"][:2]
    return record


def of_a_run(folder: Path) -> dict[str, Any]:
    """Rows set aside, candidates skipped and tuned, examples that were not tried."""
    wanted = plan(folder, budget=Limits(minutes=10))
    data = Path(str(wanted.task.data))
    data.write_text(data.read_text() + "no JSON\n" * 3 + '{"prompt": "p"}\n')
    tools = planted.world(planted.label_map(40)[1]).tools()
    run(wanted, out=folder / "run", tools=tools)
    return dict(store.read_json(folder / "run" / "record.json"))


@pytest.mark.parametrize("made", [example, of_a_run])
def test_no_key_can_be_deleted_unnoticed(made: Any, tmp_path: Path) -> None:
    """The error names the key, or where keys are names of what adds up, what they stand in."""
    record = made(tmp_path)
    paths = list(damage.keys(record))
    assert len(paths) > 300
    pages = tmp_path / "pages"
    pages.mkdir()
    for write in (write_report, write_card):
        for path in paths:
            with pytest.raises(GuardError) as raised:
                write(damage.without(record, path), pages)
            said = f"{raised.value.message} {raised.value.field}"
            sums = path[-2] in ("set_aside", "predicted_memory") if len(path) > 1 else False
            assert str(path[-2 if sums else -1]) in said, path
    assert list(pages.iterdir()) == []
    assert write_report(record, pages).is_file() and write_card(record, pages).is_file()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("recommended", "candidate"), "nobody"),
        (("model",), None),
        (("detail", "data", "rows_in"), 3),
        (("detail", "licence", "other"), None),
        (("candidates", 0, "test", "bleu", "value"), None),
        (("detail", "metrics"), ["rougeL"]),
        (("detail", "candidates", "lora", "training", "predicted_peak_bytes"), 3),
    ],
)
def test_parts_that_contradict_each_other_are_named(
    path: damage.Path, value: Any, tmp_path: Path
) -> None:
    record = example_record.record()
    damage.at(record, path[:-1])[path[-1]] = value
    for write in (write_report, write_card):
        with pytest.raises(GuardError, match="the record cannot be shown"):
            write(record, tmp_path)
