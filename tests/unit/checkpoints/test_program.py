"""What a run stands for: base, adapter, turns, through a run on a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints.programs import published, run_folder
from tutelage import store
from tutelage.checkpoints.program import Program, program_of
from tutelage.errors import DamagedError, SourceError
from tutelage.lm import Message

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
AS_MESSAGES = (Message("user", "q"), Message("assistant", "a"))


def test_what_is_no_run_stands_for_itself(tmp_path: Path) -> None:
    assert program_of("preset:llama-tiny") == Program("preset:llama-tiny")
    (tmp_path / "tutelage.json").write_text('{"request": "of a tuning"}')
    assert program_of(str(tmp_path)) == Program(str(tmp_path))


def test_a_run_on_a_run_stands_for_both(tmp_path: Path) -> None:
    """A candidate may be an earlier run: its adapter and turns were part of what was measured."""
    below = run_folder(
        tmp_path / "below",
        base="preset:llama-tiny",
        adapter="adapter",
        messages=TURNS,
        fingerprint="print",
        seed=7,
    )
    more = [{"role": "user", "content": "more"}]
    above = run_folder(
        tmp_path / "above", base=str(below), messages=more, fingerprint="print", seed=0
    )
    assert program_of(str(above)) == Program(
        "preset:llama-tiny",
        below / "model" / "adapter",
        (*AS_MESSAGES, Message("user", "more")),
        "print",
        7,
    )


def test_whole_weights_lie_in_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", base="model", messages=TURNS)
    assert program_of(str(run)).base == str(run / "model" / "model")
    assert program_of(str(run / "model")) == program_of(str(run))


def test_a_run_that_recommends_nothing_yet_is_refused(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", base="x")
    (run / "model" / "tutelage.json").unlink()
    with pytest.raises(SourceError, match="recommends no model yet"):
        program_of(str(run))


@pytest.mark.parametrize("said", [{"messages": 3}, {"messages": [{}]}, {"base": "x"}, ["messages"]])
def test_a_damaged_program_is_named(tmp_path: Path, said: Any) -> None:
    run = run_folder(tmp_path / "run")
    store.write_json(run / "model" / "tutelage.json", said)
    with pytest.raises(DamagedError, match=r"tutelage\.json does not say") as caught:
        program_of(str(run))
    assert caught.value.field == str(run / "model" / "tutelage.json")


def test_the_folder_itself_may_be_named(tmp_path: Path) -> None:
    folder = published(tmp_path / "model", base="preset:llama-tiny", messages=TURNS)
    assert program_of(str(folder)).messages == AS_MESSAGES
