from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.cli import doctor as module
from tutelage.cli.doctor import doctor, show
from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError
from tutelage.kernels import library as kernels
from tutelage.machine import memory, speed

KEYS = [
    "python",
    "torch",
    "device",
    "dtype",
    "gemm_flops",
    "bandwidth_bytes_per_second",
    "disk_free",
    "problems",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds of this machine are measured elsewhere (tests/unit/machine)."""
    monkeypatch.setattr(speed, "gemm_flops", lambda dtype, device: 4e11)
    monkeypatch.setattr(speed, "bandwidth", lambda device: 3e10)


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without problems."""
    monkeypatch.setattr(memory, "available", lambda: 16 * 10**9)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 0, 10**12)
    )


def test_a_sound_machine(sound: None, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    found = doctor(shared=Shared(device="cpu", dtype="fp32", threads=threads))
    assert list(found) == KEYS
    assert (found["device"], found["dtype"], found["problems"]) == ("cpu", "fp32", [])
    assert (found["gemm_flops"], found["bandwidth_bytes_per_second"]) == (4e11, 3e10)
    show(found)
    page = capsys.readouterr().out
    assert "0.40 TFLOP/s" in page and "30.0 GB/s" in page and "no problems" in page


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ((memory, "available", lambda: 10**9), "1.0 GB of memory"),
        ((kernels, "library", lambda: None), "compiler"),
        (
            (shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 0, 10**8)),
            "0.1 GB of disk",
        ),
        ((module, "TORCH", (99, 0)), "older than 99.0"),
    ],
)
def test_each_problem_is_found_alone(
    fault: tuple[Any, str, Any],
    word: str,
    sound: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(*fault)
    found = doctor(shared=Shared(device="cpu", threads=torch.get_num_threads()))
    assert len(found["problems"]) == 1
    assert word in found["problems"][0]
    show(found)
    assert word in " ".join(capsys.readouterr().out.split())


def test_a_broken_torch_is_a_problem_and_no_crash(
    sound: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tutelage.machine.speed", None)
    found = doctor()
    assert list(found) == KEYS
    assert found["device"] is None and found["gemm_flops"] is None
    assert "torch cannot be imported" in found["problems"][0]
    show(found)
    assert "torch cannot be imported" in capsys.readouterr().out


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        doctor(folder=tmp_path / "none")
    assert caught.value.field == "--folder"
