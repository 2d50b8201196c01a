from __future__ import annotations

import pytest
import torch

from tutelage.errors import ConfigError
from tutelage.machine import device
from tutelage.machine.device import (
    Placement,
    bfloat16_is_slow,
    multiplied_in,
    resolve,
    use_threads,
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine of one's choice: which devices it has and what its processor's flags are."""

    def make(*, cuda: bool = False, mps: bool = False, flags: str = "", capability=(8, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(device, "cpuinfo", lambda key: flags if key == "flags" else None)

    return make


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        ({}, Placement("cpu", "fp32")),
        ({"flags": "sse avx512f"}, Placement("cpu", "fp32")),
        ({"flags": "sse avx512_bf16 fma"}, Placement("cpu", "bf16")),
        ({"flags": "amx_bf16"}, Placement("cpu", "bf16")),
        ({"mps": True}, Placement("mps", "fp32")),
        ({"cuda": True, "mps": True}, Placement("cuda", "bf16")),
        ({"cuda": True, "capability": (7, 5)}, Placement("cuda", "fp32")),
    ],
)
def test_auto_takes_the_best_there_is(machine, here: dict, expected: Placement) -> None:
    machine(**here)
    assert resolve() == expected


def test_exact_is_float32_everywhere(machine) -> None:
    machine(flags="avx512_bf16")
    assert resolve(exact=True).dtype == "fp32"
    assert resolve(dtype="fp32", exact=True).dtype == "fp32"
    with pytest.raises(ConfigError) as caught:
        resolve(dtype="bf16", exact=True)
    assert (caught.value.field, caught.value.got) == ("--dtype", "bf16")


@pytest.mark.parametrize("missing", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused(machine, missing: str) -> None:
    machine()
    with pytest.raises(ConfigError) as caught:
        resolve(missing)
    assert caught.value.field == "--device"
    assert caught.value.expected == "one of auto, cpu"


@pytest.mark.parametrize(
    ("flag", "values"), [("--device", ("tpu", "fp32")), ("--dtype", ("cpu", "f8"))]
)
def test_unknown_names_are_refused(flag: str, values: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(*values)
    assert caught.value.field == flag


def test_asked_formats_are_kept_without_units(machine) -> None:
    machine()
    assert resolve("cpu", "bf16") == Placement("cpu", "bf16")
    assert resolve("cpu", "fp16") == Placement("cpu", "fp16")


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(1) == 1
        assert torch.get_num_threads() == 1
        assert use_threads(None) == torch.get_num_threads() == device.cores()
    finally:
        torch.set_num_threads(before)


SLOW = {
    ("GenuineIntel", "avx512f avx512_bf16 amx_bf16"): False,
    ("GenuineIntel", "avx512f avx512_bf16"): True,
    ("GenuineIntel", "avx512f"): False,
    ("AuthenticAMD", "avx512f avx512_bf16"): False,
}


@pytest.mark.parametrize(("vendor", "flags"), SLOW)
def test_in_which_type_is_multiplied(
    vendor: str, flags: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"vendor_id": vendor, "flags": flags}
    monkeypatch.setattr(device, "cpuinfo", told.get)
    bfloat16_is_slow.cache_clear()
    try:
        kept = "fp32" if SLOW[vendor, flags] else "bf16"
        assert multiplied_in(Placement("cpu", "bf16")) == kept
        assert multiplied_in(Placement("cpu", "fp32")) == "fp32"
        assert multiplied_in(Placement("cuda", "bf16")) == "bf16"
    finally:
        bfloat16_is_slow.cache_clear()
