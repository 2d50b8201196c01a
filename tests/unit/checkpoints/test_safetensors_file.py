"""Values of a safetensors file as the library reads them, and no mapping that stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tutelage.checkpoints.safetensors_file import SafetensorsWeight, safetensors_weights
from tutelage.errors import SourceError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    tensors = {
        f"{dtype}.{'x'.join(map(str, shape))}": torch.randn(shape).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)
        for shape in ((3, 5), (7,), (), (0, 4))
    }
    save_file(tensors, tmp_path / "w.safetensors", metadata={"format": "pt"})
    return tmp_path / "w.safetensors"


def test_values_are_those_of_the_library(file: Path) -> None:
    expected, found = load_file(file), safetensors_weights(file)
    assert set(found) == set(expected)
    for name, weight in found.items():
        value = weight.load()
        assert value.dtype == expected[name].dtype and value.shape == expected[name].shape
        assert torch.equal(value, expected[name]), name
        value.add_(1)  # memory of its own: the next load is untouched
        assert torch.equal(weight.load(), expected[name])


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are read from /proc")
def test_the_file_is_not_mapped_once_its_weights_are_loaded(file: Path) -> None:
    """What is mapped counts as memory of the process: as much again as the weights."""
    weights = safetensors_weights(file)
    values = [weight.load() for weight in weights.values()]
    assert values and str(file) not in Path("/proc/self/maps").read_text()


def test_a_file_cut_short_after_it_was_opened_is_named(file: Path) -> None:
    weights = safetensors_weights(file)
    last = max(weights.values(), key=_begin)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"w\.safetensors is not a readable"):
        last.load()


def _begin(weight: SafetensorsWeight) -> tuple[int, int]:
    return weight.file.places[weight.name]
