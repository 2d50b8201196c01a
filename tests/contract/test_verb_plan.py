"""`plan memory`, `plan parameters`, `doctor` and `--version`: nothing is asked of a model."""

from __future__ import annotations

import platform

import pytest

from tests.contract.command import called
from tests.contract.keys import check

GPT3 = ("--params", "175e9", "--rule")


@pytest.mark.parametrize(
    "options",
    [
        ("--params", "1e9"),
        (*GPT3, "course-24"),
        (*GPT3, "mixed-16", "--zero", "3", "--devices", "64"),
        ("--model", "preset:llama-tiny"),
        ("--model", "preset:llama-tiny", "--train"),
        ("--model", "preset:llama-tiny", "--train", "--method", "lora"),
    ],
    ids=" ".join,
)
def test_plan_memory(options: tuple[str, ...]) -> None:
    code, found, _ = called("plan", "memory", *options)
    assert code == 0
    check("plan memory", found)
    assert found["total_bytes"] == sum(found["components"].values())
    assert 0 < found["per_device_bytes"] <= found["total_bytes"]


def test_plan_memory_gives_the_published_sums() -> None:
    assert called("plan", "memory", *GPT3, "course-24").found["total_bytes"] == 4200e9
    assert called("plan", "memory", *GPT3, "mixed-16").found["total_bytes"] == 2800e9


def test_plan_parameters() -> None:
    code, found, _ = called("plan", "parameters", "--model", "preset:llama-tiny")
    assert code == 0
    check("plan parameters", found)
    assert sum(found["parts"].values()) == found["total"] == 109_120


def test_doctor() -> None:
    code, found, _ = called("doctor", "--threads", "1")
    assert code == 0
    check("doctor", found)
    assert found["gemm_flops"] > 0 and isinstance(found["problems"], list)


def test_version() -> None:
    code, found, _ = called("--version")
    assert code == 0
    check("--version", found)
    assert found["python"] == platform.python_version()
