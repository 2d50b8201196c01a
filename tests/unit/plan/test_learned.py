"""A correction learned from runs: what is planted is found, and what is not known stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage.plan.learned import FEWEST, MOST, Correction, Ran, error, learn
from tutelage.train import history

GB = 1_000_000_000


def _runs(count: int, seed: int = 0, noise: float = 0.0, slow: float = 1.5) -> list[Ran]:
    """Activations take 1.4 times what the formula says, and 0.2 GB are not in it at all."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        weights, activations, logits, before = generator.uniform(0.1, 2, 4) * GB
        peak = before + weights + 1.4 * activations + logits + 0.2 * GB
        peak *= np.exp(generator.normal(0, noise))
        parts = {"weights": weights, "activations": activations, "logits": logits}
        components = {name: int(size) for name, size in parts.items()} | {"runtime": int(before)}
        found.append(Ran(components, int(peak), 10.0, slow * 10.0))
    return found


def test_planted_factors_are_found() -> None:
    found = learn(_runs(30))
    assert found is not None and found.runs == 30
    assert found.factors == pytest.approx({"weights": 1, "activations": 1.4, "logits": 1}, abs=0.01)
    assert found.added_bytes == pytest.approx(0.2 * GB, rel=0.05)
    assert found.time == 1.5 and found.worst_error < 0.01
    parts = found.bytes({"weights": GB, "activations": GB, "head": GB})
    assert parts["head"] == GB and parts["activations"] == pytest.approx(1.4 * GB, rel=0.01)


@pytest.mark.parametrize("count", [6, 12, 30])
def test_runs_not_seen_are_foretold_better_than_by_the_formula(count: int) -> None:
    found = learn(_runs(count, noise=0.02))
    others = _runs(40, seed=1, noise=0.02)
    learned = [error(found, run) for run in others]
    formula = [error(None, run) for run in others]
    assert np.median(learned) < 0.5 * np.median(formula)
    assert max(learned) < max(formula)


def test_the_stated_error_is_of_runs_left_out() -> None:
    runs = _runs(12, noise=0.1)
    found = learn(runs)
    assert found is not None
    fresh = [error(found, run) for run in _runs(200, seed=5, noise=0.1)]
    assert found.median_error == pytest.approx(np.median(fresh), rel=0.5)
    inside = np.median([error(found, run) for run in runs])
    assert inside < found.median_error, "of the runs learned from it would be flattering"


def test_few_or_small_runs_teach_nothing() -> None:
    assert learn(_runs(FEWEST - 1)) is None
    small = [Ran({"weights": 1000, "runtime": GB}, GB, 1.0, 1.0)] * 9
    assert learn(small) is None


def test_a_factor_beyond_reason_is_cut() -> None:
    wild = [Ran({"weights": GB}, (60 + n) * GB, 1.0, 1.0) for n in range(9)]
    found = learn(wild)
    assert found is not None and found.factors["weights"] <= MOST and found.time is None


def _result(run: Ran) -> dict[str, Any]:
    return {
        "method": "lora", "base": {"source": "m"}, "steps": 3, "settings": {},
        "predicted_memory": run.components, "predicted_seconds": run.predicted_seconds,
        "peak_bytes": run.peak_bytes, "seconds": run.seconds,
        "probed_seconds": None, "predicted_flops": 1e12, "counted_flops": 0.9e12,
    }  # fmt: skip


def test_runs_are_kept_and_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "folder", lambda: tmp_path / "plans")
    assert history.correction() is None
    for run in _runs(8):
        history.keep(_result(run), "cpu", "bf16")
    found = history.correction()
    assert isinstance(found, Correction) and found.runs == 8
    (first, *_) = (tmp_path / "plans").glob("run-*.json")
    stored = json.loads(first.read_text())
    assert stored["predicted"]["flops"] == 1e12
    assert stored["measured"]["flops"] == 0.9e12
    assert stored["measured"]["flops_per_second"] == pytest.approx(0.9e12 / 15)
    first.write_text("{")
    assert len(history.ran(tmp_path / "plans")) == 7, "a damaged file is passed over"


def test_small_runs_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "folder", lambda: tmp_path / "plans")
    history.keep(_result(Ran({"weights": 5, "runtime": GB}, GB, 1.0, 1.0)), "cpu", "fp32")
    assert not (tmp_path / "plans").exists()


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(history, "folder", lambda: tmp_path / "file" / "plans")
    history.keep(_result(_runs(1)[0]), "cpu", "bf16")
    assert history.correction() is None
