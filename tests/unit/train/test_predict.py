"""A prediction is about the device that does the work."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.train.rows import SOURCE, config, rows_of
from tutelage.machine.device import Placement
from tutelage.train import predict as module
from tutelage.train.prepare import Run, predict, prepare


@pytest.fixture
def run() -> Run:
    return prepare(SOURCE, rows_of(), config(), device="cpu", dtype="fp32", threads=1)


def test_speed_and_memory_are_those_of_the_device(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {"cpu": 1e9, "cuda": 1e12, "mps": 1e11}
    monkeypatch.setattr(module, "speed", lambda dtype, device: speeds[device])
    here = predict(run)
    assert here.memory["runtime"] > 10_000_000
    for device in ("cuda", "mps"):
        there = predict(replace(run, placement=Placement(device, "fp32")))
        assert there.seconds == pytest.approx(here.seconds * 1e9 / speeds[device])
        assert "runtime" not in there.memory
        assert there.peak_bytes == here.peak_bytes - here.memory["runtime"]


def test_each_device_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(module, "gemm_flops", lambda *where: asked.append(where) or 1.0)
    module.speed.cache_clear()
    for device in ("cpu", "cuda", "cuda"):
        module.speed("fp32", device)
    module.speed.cache_clear()
    assert asked == [("fp32", "cpu"), ("fp32", "cuda")]


def test_a_second_update_meets_the_memory_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, whose C library keeps it; other devices say what is in use."""
    monkeypatch.setattr(module, "speed", lambda dtype, device: 1e9)
    whole = prepare(SOURCE, rows_of(), config(method="full"), dtype="bf16", threads=1)
    assert len(whole.steps) > 1
    one, more = (predict(replace(whole, steps=whole.steps[:n])).memory for n in (1, 2))
    assert more["gradients"] > one["gradients"] and "activations" in more
    there = replace(whole, placement=Placement("cuda", "bf16"))
    one, more = (predict(replace(there, steps=there.steps[:n])).memory for n in (1, 2))
    assert more["gradients"] == one["gradients"]


def test_parts_never_hold_less_than_the_longest_row(run: Run) -> None:
    parts = [predict(replace(run, config=config(micro_batches=n))) for n in (1, 2, 64, 128)]
    sizes = [one.memory["activations"] for one in parts]
    assert sizes[0] > sizes[1] > sizes[2] == sizes[3]


def test_what_is_loaded_already_is_not_foreseen_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resident", lambda: 10**9)
    monkeypatch.delitem(sys.modules, module.COMPILER, raising=False)
    half = replace(run, placement=Placement("cpu", "bf16"))
    assert predict(run).memory["runtime"] == 10**9 + module.FIRST_STEP
    assert predict(half).memory["runtime"] == 10**9 + module.FIRST_STEP + module.PRODUCTS
    monkeypatch.setitem(sys.modules, module.COMPILER, module)
    assert predict(run).memory["runtime"] == 10**9
    assert predict(half).memory["runtime"] == 10**9 + module.PRODUCTS


TUNE = """
import sys
from pathlib import Path
from tests.unit.train.rows import config, tuned

method, dtype, out = sys.argv[1:]
found = tuned(Path(out), config(method=method, steps=4), dtype=dtype)
print(found["predicted_peak_bytes"] / found["peak_bytes"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is sampled, not measured")
@pytest.mark.parametrize(
    ("method", "dtype"), [("lora", "fp32"), ("lora", "bf16"), ("full", "bf16")]
)
def test_a_tiny_run_in_a_process_of_its_own(
    method: str, dtype: str, tmp_path: Path, root: Path
) -> None:
    """Next to nothing but what Python and torch load and keep, all of which is to be foreseen."""
    done = subprocess.run(
        [sys.executable, "-c", TUNE, method, dtype, str(tmp_path / "out")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 1.1
