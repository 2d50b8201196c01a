"""A dry run does what is hardest, keeps nothing of it, and fails where the run would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.train.rows import SOURCE, WORDS, config, rows_of
from tutelage.checkpoints.reading import Virtual
from tutelage.data.pack import packed_tokens
from tutelage.errors import GuardError, MemoryLimitError, WorkError
from tutelage.lm import Message
from tutelage.train import rehearsal, state
from tutelage.train.prepare import Run, prepare
from tutelage.train.preview import previews
from tutelage.train.rehearsal import rehearse

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
METHODS = ["lora", "full", "qlora", "prefix-tuning", "last-layers"]


def run_of(source: str = SOURCE, **changes: Any) -> Run:
    return prepare(source, rows_of(), config(**changes), **WHERE)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_hardest_is_tried_and_nothing_is_left(method: str, tmp_path: Path) -> None:
    run = run_of(method=method)
    found = rehearse(run, tmp_path)
    assert found.tokens == max(map(packed_tokens, run.steps))
    assert found.longest_row == max(row.inputs for step in run.steps for row in step)
    assert set(found.seconds) == {"step", "evaluation", "save"} and min(found.seconds.values()) > 0
    assert found.loss > 0 and found.gradient_norm > 0 and found.peak_bytes > 10_000_000
    trained = run.method.count(run.weights, run.settings)
    assert found.bytes_on_disk > 3 * 4 * min(trained, 1000)  # values and two moments, at the least
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_decoder_is_rehearsed_too(tmp_path: Path) -> None:
    assert rehearse(run_of("preset:t5-tiny"), tmp_path).rows > 0


def test_layers_that_join_late_are_trained_in_the_rehearsal(tmp_path: Path) -> None:
    every = rehearse(run_of(method="full"), tmp_path)
    late = rehearse(run_of(method="full", options={"unfreeze": 0.9}), tmp_path)
    assert late.gradient_norm == pytest.approx(every.gradient_norm, rel=1e-5)


@pytest.mark.parametrize(
    ("part", "error", "raised"),
    [
        ("working", MemoryError("no room"), MemoryLimitError),
        ("_evaluate", MemoryError("no room for keys"), MemoryLimitError),
        ("_save", WorkError("disk full"), WorkError),
        ("_step", GuardError("the gradient is zero"), GuardError),
    ],
)
def test_it_fails_where_the_run_would(
    part: str, error: Exception, raised: type[Exception], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*given: Any) -> Any:
        raise error

    monkeypatch.setattr(rehearsal, part, fail)
    with pytest.raises(raised):
        rehearse(run_of(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_rows_that_begin_alike_the_heaviest_step_is_the_one_with_the_most_tokens_in_a_pack(
    tmp_path: Path,
) -> None:
    """Many short rows behind a long common beginning are fewer tokens than one long row."""
    rows = [replace(row, messages=(Message("user", "x" * 100 + row.id),)) for row in rows_of()]
    rows.append(replace(rows[0], id="long", completion="x" * 200))
    run = prepare(SOURCE, rows, config(batch_tokens=300), **WHERE)
    found = rehearse(run, tmp_path)
    assert (found.rows, found.tokens) == (1, found.longest_row)


def test_a_checkpoint_is_really_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    save = state.save

    def watched(folder: Path, *given: Any) -> None:
        save(folder, *given)
        seen.append({file.name for file in folder.rglob("*")})

    monkeypatch.setattr(state, "save", watched)
    rehearse(run_of(), tmp_path)
    assert {"weights.safetensors", "optimizer.safetensors", "progress.json"} <= seen[0]


@pytest.mark.parametrize("method", ["lora", "prompt-tuning"])
def test_rows_are_shown_as_they_are_learned(method: str) -> None:
    run = run_of(method=method)
    tokenizer = run.checkpoint.tokenizer
    shown = previews(run.examples, tokenizer, run.virtual)
    assert len(shown) == 3 and len({one.name for one in shown}) == 3
    first = shown[0]
    assert "".join(first.learned).strip() == WORDS[0][::-1]
    assert f"Backwards: {WORDS[0]}" in first.prompt
    assert first.end is not None and tokenizer.id(first.end) in tokenizer.eos_ids
    lengths = [one.prompt_tokens + len(one.learned) for one in shown]
    every = [len(e.ids) - len(run.virtual.ids) for e in run.examples]
    assert min(lengths) == min(every) and max(lengths) == max(every)


@pytest.mark.parametrize("method", ["lora", "prompt-tuning", "prefix-tuning"])
def test_of_an_encoder_decoder_the_prompt_is_what_the_encoder_reads(method: str) -> None:
    run = run_of("preset:t5-tiny", method=method)
    shown = previews(run.examples[:2], run.checkpoint.tokenizer, run.virtual)
    assert len(shown) == 2 and WORDS[0] in shown[0].prompt and shown[0].end is not None
    plain = previews(run_of("preset:t5-tiny").examples[:2], run.checkpoint.tokenizer, Virtual())
    assert shown == plain
