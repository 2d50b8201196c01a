"""What pretraining is predicted to take, by the formulas of full tuning, beside what it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.config import validate
from tutelage.plan import learned
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import pretrain
from tutelage.train import history
from tutelage.train.predict import Prediction


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of these runs stays on the machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(folder: Path, **training: Any) -> dict[str, Any]:
    text = folder / "words.txt"
    text.write_text("".join(f"one {n} two {n * n} three and so on\n" for n in range(300)))
    asked = {
        "model": {"depth": 1, "context": 32}, "tokenizer": {"vocabulary": 300},
        "data": {"train": {"text": str(text)}, "unit": "line"},
        "training": {"steps": 5, "batch_tokens": 128, **training},
    }  # fmt: skip
    config = validate(PretrainConfig, asked)
    return pretrain(config, folder / "out", device="cpu", dtype="fp32", threads=1)


def test_a_run_stores_what_it_was_predicted_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SMALLEST", 1)
    found = _run(tmp_path)
    memory = found["predicted_memory"]
    assert memory["weights"] == 4 * found["parameters"]
    assert memory["optimizer"] == 2 * memory["weights"]
    assert sum(memory.values()) == found["predicted_peak_bytes"]
    assert found["predicted_seconds"] > 0 and found["probed_seconds"] > 0
    assert found["counted_flops"] == pytest.approx(found["predicted_flops"], rel=0.25)
    (kept,) = history.folder().glob("run-*.json")
    stored = json.loads(kept.read_text())
    assert stored["method"] == "pretrain" and stored["predicted"]["memory"] == memory
    assert stored["measured"]["peak_bytes"] == found["peak_bytes"]
    (ran,) = history.ran(history.folder())
    assert isinstance(ran, learned.Ran) and ran.seconds == found["seconds"]


def test_muon_keeps_one_moment_of_matrices(tmp_path: Path) -> None:
    memory = _run(tmp_path, optimizer="muon")["predicted_memory"]
    assert memory["weights"] < memory["optimizer"] < 2 * memory["weights"]


def test_of_other_objectives_nothing_is_foretold(tmp_path: Path) -> None:
    found = _run(tmp_path, objective="prefix")
    assert found["predicted_peak_bytes"] is None and found["probed_seconds"] is None


def test_two_probe_steps_say_the_time() -> None:
    run = Prediction(0.0, {}, 14.0, (2.0, 2.0, 4.0, 3.0, 3.0))
    # A second a unit of work; the first step took five seconds more.
    marks = {1: 7.0, 2: 9.0, 3: 13.0}
    assert run.probed(marks) == pytest.approx(7.0 + 12.0)
    assert run.probed({2: 9.0, 3: 13.0}) is None, "gone on after a kill"
    assert Prediction(0.0, {}, 3.0, (1.0, 1.0, 1.0)).probed(marks) is None


def test_operations_of_one_step_stand_for_all() -> None:
    run = Prediction(0.0, {}, 14.0, (2.0, 2.0, 4.0, 3.0, 3.0))
    assert run.counted(1, 1, 5) == 7.0, "half of what was predicted for the first"
    assert run.counted(3, 4, 3) == 8.0, "gone on after a kill, and stopped"
    assert run.counted(0, 0, 0) is None, "no step was made"
