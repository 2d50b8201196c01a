"""`tune` on a tiny preset: results, going on after a stop, refusals, and what others open."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tests.parity.test_peft import our_logits, their_logits
from tests.unit.train.rows import SOURCE, After, config, rows_of, tuned, weights_of
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import (
    BusyError,
    ConfigError,
    DamagedError,
    DataError,
    MemoryLimitError,
    RequestError,
    UnknownName,
)
from tutelage.peft.actions import lora as actions
from tutelage.train import fit
from tutelage.train import prepare as preparing
from tutelage.train import tune as module
from tutelage.train.prepare import predict, prepare
from tutelage.train.tune import tune

IDS = list(b"Backwards: red, and what then?")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The weights of both methods' runs that nothing interrupts."""
    folder = tmp_path_factory.mktemp("undisturbed")
    torch.set_num_threads(1)
    found = {}
    for method in ("lora", "full"):
        tuned(folder / method, config(method=method))
        found[method] = weights_of(folder / method)
    return found


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_result_says_what_happened(method: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    out = tmp_path / "out"
    result = tuned(
        out,
        config(method=method),
        progress=lambda what, done, total: seen.append((what, done, total)),
    )
    json.dumps(result, allow_nan=False)
    assert result["status"] == "done" and result["method"] == method
    assert result["steps"] == result["steps_total"] == len(result["curve"]) == 6
    assert [s[1:] for s in seen] == [(i, 6) for i in range(1, 7)]
    run = prepare(SOURCE, rows_of(), config(method=method), device="cpu", dtype="fp32", threads=1)
    trained = sum(row.trained for step in run.steps for row in step)
    assert result["trained_tokens"] == trained
    assert result["rows"] == {"used": 12, "set_aside": 0}
    assert result["loss"]["first"] > result["loss"]["last"]
    assert result["settings"]["learning_rate"] == run.method.learning_rate
    assert result["peak_bytes"] > 0 and result["predicted_peak_bytes"] > 0
    parameters = {n: p for n, p in build(run.checkpoint).named_parameters()}
    whole = sum(p.numel() for p in parameters.values())
    assert (result["trained_parameters"] == whole) == (method == "full")
    store.verify(out)
    assert not (tmp_path / "out.state").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("stops", [[1], [3], [5], [1, 1, 1, 1, 1], [2, 2]])
def test_stopped_and_gone_on_equals_undisturbed(
    method: str, stops: list[int], tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]
) -> None:
    out = tmp_path / "out"
    done = 0
    for after in stops:
        part = tuned(out, config(method=method), deadline=After(after))
        done += after
        assert part["status"] == "stopped" and part["steps"] == done
        assert not out.exists()
    result = tuned(out, config(method=method))
    assert result["status"] == "done" and len(result["curve"]) == 6
    assert weights_of(out) == undisturbed[method]
    assert [point["step"] for point in result["curve"]] == [1, 2, 3, 4, 5, 6]


def test_the_deadline_is_not_asked_for_a_finished_run(
    tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]
) -> None:
    result = tuned(tmp_path / "out", deadline=After(6))
    assert result["status"] == "done"
    assert weights_of(tmp_path / "out") == undisturbed["lora"]


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("victims", [1, 2])
def test_a_damaged_checkpoint_is_named_and_the_end_is_the_same(
    method: str, victims: int, tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]
) -> None:
    out, notes = tmp_path / "out", []
    tuned(out, config(method=method), deadline=After(2))
    tuned(out, config(method=method), deadline=After(2))
    checkpoints = sorted((tmp_path / "out.state").glob("step-*"))
    assert [p.name for p in checkpoints] == ["step-00000002", "step-00000004"]
    for checkpoint in checkpoints[-victims:]:
        file = checkpoint / "optimizer.safetensors"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    result = tuned(out, config(method=method), note=notes.append)
    assert len(notes) == victims
    assert "step-00000004" in notes[0] and "optimizer.safetensors" in notes[0]
    assert weights_of(out) == undisturbed[method]
    assert result["status"] == "done"


def test_a_finished_run_is_returned_and_not_redone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = tuned(out)
    stamp = (out / "adapter_model.safetensors").stat().st_mtime_ns
    assert tuned(out) == first
    assert (out / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    assert tuned(out, config(save_seconds=5)) == first, "how often to save is not part of it"


def test_another_request_is_refused_for_a_finished_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tuned(out)
    before = weights_of(out)
    narrow = config(options={"rank": 3})
    for other in (config(seed=1), narrow, config(method="full"), config(steps=5)):
        with pytest.raises(RequestError) as caught:
            tuned(out, other)
        assert caught.value.field == "--out"
    with pytest.raises(RequestError):
        tune(SOURCE, rows_of(11), config(), out, device="cpu", dtype="fp32", threads=1)
    assert weights_of(out) == before


def test_another_request_is_refused_for_an_unfinished_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tuned(out, deadline=After(2))
    with pytest.raises(RequestError, match="another request"):
        tuned(out, config(seed=1))
    assert tuned(out)["steps"] == 6


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(RequestError, match="something else"):
        tuned(out)
    assert (out / "thesis.txt").read_text() == "years of work"
    file = tmp_path / "file"
    file.write_text("a file")
    with pytest.raises(RequestError, match="something else"):
        tuned(file)


def test_a_finished_folder_that_was_damaged_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tuned(out)
    content = bytearray((out / "adapter_model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "adapter_model.safetensors").write_bytes(bytes(content))
    with pytest.raises(DamagedError, match=r"adapter_model\.safetensors"):
        tuned(out)


def test_a_kill_after_the_end_leaves_nothing_to_redo_or_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result stands, its checkpoints are not yet removed: the next call removes them."""
    out = tmp_path / "out"
    tuned(out, deadline=After(3))
    with monkeypatch.context() as patch:
        patch.setattr(module.state, "discard", lambda folder: None)
        first = tuned(out)
    assert (tmp_path / "out.state").exists()
    assert tuned(out) == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_two_at_once_is_busy_and_names_the_holder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = tmp_path / "out.state"
    script = "import sys,time;from pathlib import Path;from tutelage import store\n" + (
        "with store.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=str(holder.pid)):
            tuned(out)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    assert tuned(out)["status"] == "done"


def test_who_finished_while_we_waited_is_not_redone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finishes between our first look at the folder and our lock."""
    out = tmp_path / "out"
    lock, done = store.lock, []

    def late(folder: Path) -> Any:
        if not done:
            done.append(None)
            done.append(tuned(out))
        return lock(folder)

    monkeypatch.setattr(module.store, "lock", late)
    monkeypatch.setattr(
        module, "working", lambda run, made=module.working: count.append(1) or made(run)
    )
    count: list[int] = []
    assert tuned(out) == done[1]
    assert len(count) == 1


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_transformers_opens_a_fully_tuned_folder(dtype: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tuned(out, config(method="full"), dtype=dtype)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    ours = build(open_checkpoint(str(out)))
    start = build(open_checkpoint(SOURCE))
    expected = their_logits(theirs, IDS)
    assert (our_logits(ours, IDS) - expected).abs().max() < 1e-4
    assert (our_logits(start, IDS) - expected).abs().max() > 1e-3
    config_json = json.loads((out / "config.json").read_text())
    assert config_json["dtype" if "dtype" in config_json else "torch_dtype"] == (
        "float32" if dtype == "fp32" else "bfloat16"
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
def test_peft_opens_an_adapter(tmp_path: Path) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    save_folder(None, open_checkpoint(SOURCE), base)
    where = {"device": "cpu", "dtype": "fp32", "threads": 1}
    tune(str(base), rows_of(), config(options={"roles": ("attn.q", "mlp.down")}), out, **where)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(model, out).eval()
    checkpoint = open_checkpoint(str(base))
    ours = build(checkpoint)
    actions.read(ours, checkpoint, out)
    assert (our_logits(ours, IDS) - their_logits(theirs, IDS)).abs().max() < 1e-4
    assert (our_logits(build(checkpoint), IDS) - their_logits(theirs, IDS)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"method": "lroa"}, UnknownName, "--method"),
        ({"options": {"roles": ("attn.qq",)}}, UnknownName, "--role"),
        ({"options": {"rank": 65}}, ConfigError, "--rank"),
        ({"options": {"alpha": 0.0}}, ConfigError, "--alpha"),
        ({"options": {"rank": "many"}}, ConfigError, "--rank"),
        ({"method": "full", "options": {"rank": 4}}, ConfigError, "--rank"),
    ],
)
def test_requests_that_cannot_be_done(
    changes: dict[str, Any], error: type[Exception], field: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        tuned(tmp_path / "out", config(**changes))
    assert caught.value.field == field  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_no_usable_row_is_an_error_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row can be trained on"):
        tune(SOURCE, [], config(), tmp_path / "out", device="cpu", dtype="fp32", threads=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room for 3 GB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 3 GB"),
    ],
)
def test_memory_that_runs_out_names_a_setting_that_is_predicted_to_fit(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> Any:
        raise error

    def needed(**changes: Any) -> int:
        found = predict(prepare(SOURCE, rows_of(), config(**changes), **where))
        return found.peak_bytes - found.memory["runtime"]

    where = {"device": "cpu", "dtype": "fp32", "threads": 1}
    monkeypatch.setattr(module, "working", full)
    for parts in (2, 4):
        monkeypatch.setattr(fit, "available", lambda n=parts: needed(micro_batches=n) + 1)
        with pytest.raises(MemoryLimitError) as caught:
            tuned(tmp_path / "out")
        assert caught.value.got == str(error)
        assert f"--micro-batches {parts} (" in str(caught.value.hint)
    monkeypatch.setattr(fit, "available", lambda: 0)
    with pytest.raises(MemoryLimitError) as caught:
        tuned(tmp_path / "out")
    assert str(caught.value.hint).startswith("no --micro-batches")


def test_another_failure_is_not_taken_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*given: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(module, "working", wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        tuned(tmp_path / "out")


def test_without_a_usable_row_the_first_reason_is_said(tmp_path: Path) -> None:
    rows = [replace(row, completion="x" * 5000) for row in rows_of(3)]
    with pytest.raises(DataError, match="no row can be trained on") as caught:
        tune(SOURCE, rows, config(), tmp_path / "out", device="cpu", dtype="fp32", threads=1)
    assert rows[0].where in str(caught.value.hint) and "too-long" in str(caught.value.hint)


@pytest.mark.parametrize("manifest", ["{}", "[]", '{"files": {"a": {}}}'])
def test_a_finished_folder_whose_manifest_is_nonsense_is_damaged(
    manifest: str, tmp_path: Path
) -> None:
    tuned(tmp_path / "out", config(steps=1))
    (tmp_path / "out" / store.MANIFEST).write_text(manifest)
    with pytest.raises(DamagedError, match="manifest"):
        tuned(tmp_path / "out", config(steps=1))


def test_predicting_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> Any:
        raise AssertionError("a prediction builds no model")

    monkeypatch.setattr(preparing, "build", refuse)
    where = {"device": "cpu", "dtype": "fp32", "threads": 1}
    narrow = config(method="lora", options={"rank": 4})
    small = predict(prepare(SOURCE, rows_of(), narrow, **where))
    large = predict(prepare(SOURCE, rows_of(), config(method="full"), **where))
    assert 0 < small.seconds < large.seconds
    # What the process holds already goes up and down by itself.
    adds = [one.peak_bytes - one.memory["runtime"] for one in (small, large)]
    assert 0 < adds[0] < adds[1]


@pytest.mark.parametrize("source", ["preset:bert-tiny", "preset:minilm-l6"])
def test_an_encoder_would_learn_to_copy_and_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be taught to answer") as caught:
        tune(source, rows_of(), config(), tmp_path / "out", device="cpu", dtype="fp32", threads=1)
    assert caught.value.got == source
    assert not (tmp_path / "out").exists()
