"""`plan memory`, `plan parameters`, `doctor` and `--version`: nothing is asked of a model."""

from __future__ import annotations

import platform

import pytest

from tests.contract.command import called
from tests.contract.keys import check

VERDICTS = (
    "holds", "does not hold here", "sources disagree", "cannot tell", "not run",
    "not testable here",
)  # fmt: skip
KINDS = ("formula", "measurement", "published")
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


def test_plan_compute() -> None:
    code, found, _ = called("plan", "compute", "--model", "preset:gpt3-175b", "--tokens", "300e9")
    assert code == 0
    check("plan compute", found)
    assert found["seconds"] is None and 3600 < found["petaflop_s_days"] < 3700


def test_plan_scaling() -> None:
    code, found, _ = called("plan", "scaling", "--params", "70e9")
    assert code == 0
    check("plan scaling", found)
    assert found["tokens"] == pytest.approx(1.4e12, rel=1e-9)


def test_plan_parallel() -> None:
    code, found, _ = called(
        *("plan", "parallel", "--params", "7e9", "--devices", "8", "--device", "a100")
    )
    assert code == 0
    check("plan parallel", found)
    for layout in found["layouts"]:
        check("layout", layout)


def test_plan_formats() -> None:
    code, found, _ = called("plan", "formats", "3.141592")
    assert code == 0 and {"fp32", "fp16", "bf16", "fp8_e4m3"} <= set(found)
    for one in found.values():
        check("stored number", one)
        assert set(one["bits"]) <= {"0", "1"}


def test_claims() -> None:
    code, found, _ = called("claims")
    assert code == 0 and set(found) == {"claims"}
    for claim in found["claims"]:
        check("claim", claim)
        assert claim["verdict"] in VERDICTS and claim["kind"] in KINDS


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
