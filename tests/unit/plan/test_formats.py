"""Numbers bit by bit, against what torch and the C library store."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.plan.formats import FORMATS, stored

TORCH = {
    "fp16": (torch.float16, torch.int16, 16),
    "bf16": (torch.bfloat16, torch.int16, 16),
    "fp8_e4m3": (torch.float8_e4m3fn, torch.uint8, 8),
    "fp8_e5m2": (torch.float8_e5m2, torch.uint8, 8),
}


def bits_of(value: float, name: str) -> str:
    kind, view, width = TORCH[name]
    number = torch.tensor([value], dtype=torch.float32).to(kind).view(view).item()
    return f"{int(number) % (1 << width):0{width}b}"


@pytest.mark.parametrize("name", TORCH)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounds_as_torch_does(name: str, value: float) -> None:
    form, found = FORMATS[name], stored(repr(value), FORMATS[name])
    if abs(Fraction(value)) > form.largest:
        return  # beyond the largest: what happens at the edge has a test of its own
    assert found["bits"] == bits_of(value, name)
    assert found["value"] == torch.tensor([value]).to(TORCH[name][0]).float().item()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(value=st.floats(allow_nan=False, allow_infinity=False, min_value=-3e38, max_value=3e38))
def test_float32_is_the_c_librarys(value: float) -> None:
    found = stored(repr(value), FORMATS["fp32"])
    (expected,) = struct.unpack(">I", struct.pack(">f", value))
    assert found["bits"] == f"{expected:032b}"


@pytest.mark.parametrize(
    ("name", "bits", "value"),
    [
        ("fp32", "01000000010010010000111111011000", 3.141592025756836),
        ("fp16", "0100001001001000", 3.140625),
        ("bf16", "0100000001001001", 3.140625),
    ],
)
def test_pi_as_it_is_taught(name: str, bits: str, value: float) -> None:
    found = stored("3.141592", FORMATS[name])
    assert (found["bits"], found["value"]) == (bits, value)
    # Both ways of shortening agree for the short formats; they do not always.
    truncated = stored("3.141592", FORMATS[name], truncate=True)["bits"]
    assert (truncated == bits) == (name != "fp32")


def test_truncating_is_not_rounding() -> None:
    assert stored("1.999", FORMATS["bf16"])["value"] == 2.0
    assert stored("1.999", FORMATS["bf16"], truncate=True)["value"] == 1.9921875


@pytest.mark.parametrize(
    ("name", "largest"),
    [("fp32", 3.4028234663852886e38), ("fp16", 65504), ("fp8_e4m3", 448), ("fp8_e5m2", 57344)],
)
def test_ranges(name: str, largest: float) -> None:
    assert float(FORMATS[name].largest) == largest


def test_beyond_the_largest() -> None:
    for name, value in (("fp16", None), ("fp8_e5m2", None), ("fp8_e4m3", 448)):
        found = stored("1e6", FORMATS[name])
        assert found["value"] == value and ("reason" in found) == (value is None)
        assert found["bits"] == bits_of(1e6, name)
        held = stored("-1e6", FORMATS[name], truncate=True)
        assert held["value"] == -float(FORMATS[name].largest)


@pytest.mark.parametrize(
    ("value", "bits", "got"),
    [
        ("-128", "10000000", -128),
        ("127.4", "01111111", 127),
        ("300", "01111111", 127),
        ("-1", "11111111", -1),
    ],
)
def test_integers_are_twos_complement(value: str, bits: str, got: int) -> None:
    found = stored(value, FORMATS["int8"])
    assert (found["bits"], found["value"]) == (bits, got)


@pytest.mark.parametrize("text", ["", "pi", "nan", "inf", "1e9999999", "1/0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        stored(text, FORMATS["fp32"])
    assert raised.value.field == "VALUE"
