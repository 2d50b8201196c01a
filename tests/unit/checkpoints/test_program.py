"""What a run stands for: base, adapter, turns, through a run on a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints.programs import published, run_folder
from tutelage import store
from tutelage.checkpoints.program import Program, program_of
from tutelage.errors import DamagedError, GuardError, SourceError
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


def tuned_run(folder: Path, *, adapter: str, **said: Any) -> Path:
    run = run_folder(folder, base="preset:llama-tiny", adapter="adapter", **said)
    with store.new_folder(run / "model" / "adapter") as new:
        store.write_text(new / "adapter_model.safetensors", adapter)
    return run


def test_what_lies_on_top_of_a_base_is_known_by_its_files_and_turns(tmp_path: Path) -> None:
    def on_top(name: str, **said: Any) -> str | None:
        return program_of(str(tuned_run(tmp_path / name, **said))).on_top

    assert program_of("preset:llama-tiny").on_top is None
    assert program_of(str(run_folder(tmp_path / "bare", base="preset:llama-tiny"))).on_top is None
    first = on_top("first", adapter="a")
    assert first is not None and first == on_top("copy", adapter="a")
    assert len({first, on_top("other", adapter="b"), on_top("t", adapter="a", messages=TURNS)}) == 3
    (tmp_path / "first/model/adapter/manifest.json").unlink()
    with pytest.raises(DamagedError, match="lacks its manifest"):
        _ = program_of(str(tmp_path / "first")).on_top


def test_a_run_made_from_one_that_changed_since_is_refused(tmp_path: Path) -> None:
    below = tuned_run(tmp_path / "below", adapter="a")
    said = program_of(str(below)).on_top
    above = run_folder(tmp_path / "above", base=str(below), messages=TURNS, below=said)
    assert program_of(str(above)).adapter == below / "model" / "adapter"
    tuned_run(tmp_path / "below", adapter="of another tuning")
    with pytest.raises(GuardError, match="not the model it was") as caught:
        program_of(str(above))
    assert caught.value.expected == said
    plain = run_folder(tmp_path / "plain", base=str(below), below=None)
    with pytest.raises(GuardError) as caught:
        program_of(str(plain))
    assert caught.value.expected == "nothing on top of its base"


def test_whole_weights_lie_in_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", base="model", messages=TURNS)
    assert program_of(str(run)).base == str(run / "model" / "model")
    assert program_of(str(run / "model")) == program_of(str(run))


def test_a_run_that_recommends_nothing_yet_is_refused(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", base="x")
    (run / "model" / "tutelage.json").unlink()
    with pytest.raises(SourceError, match="recommends no model yet"):
        program_of(str(run))


def test_a_run_that_raised_a_model_stands_for_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", base="x")
    (run / "model" / "tutelage.json").unlink()
    (run / "model" / "config.json").write_text("{}")
    assert program_of(str(run)) == Program(str(run))


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
