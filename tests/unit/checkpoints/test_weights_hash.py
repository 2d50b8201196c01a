"""The hash knows a model in any container, and tells it from its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.checkpoints.weights_hash import SAMPLED, sample, weights_hash


def known_by(source: object, seed: int = 0, dtype: str = "fp32") -> str:
    return build(open_checkpoint(str(source), seed=seed), dtype).built_from


@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"attention_bias": True}])
def test_the_container_does_not_matter(tmp_path: Path, changes: dict[str, bool]) -> None:
    model = tiny.tiny_llama(**changes)
    gguf = tiny.write_gguf(tmp_path / "tiny.gguf", model)
    folder = tiny.save_tiny(tmp_path / "theirs", model)
    save_folder(None, open_checkpoint(str(gguf)), tmp_path / "ours")
    save_folder(None, open_checkpoint(str(gguf)), tmp_path / "narrow", dtype="bfloat16")
    places = (gguf, folder, tmp_path / "ours", tmp_path / "narrow")
    assert len({known_by(place) for place in places}) == 1
    assert known_by(gguf, dtype="fp16") == known_by(gguf)


def test_another_seed_is_another_model() -> None:
    assert known_by("preset:llama-tiny", 1) == known_by("preset:llama-tiny", 1)
    assert known_by("preset:llama-tiny", 1) != known_by("preset:llama-tiny", 2)


@pytest.mark.parametrize("shape", [(1,), (7,), (SAMPLED,), (3, 50), (40, 40, 2)])
def test_first_and_last_value_count_and_layout_in_memory_does_not(shape: tuple[int, ...]) -> None:
    weight = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
    assert sample(weight.t().contiguous().t() if weight.ndim == 2 else weight) == sample(weight)
    assert len(sample(weight)) == 2 * min(SAMPLED, weight.numel())
    for place in (0, -1):
        changed = weight.clone()
        changed.view(-1)[place] += 0.5 * changed.view(-1)[place]
        assert sample(changed) != sample(weight)
    assert sample(torch.empty(0)) == b""


def test_names_count() -> None:
    assert weights_hash({"a": b"1", "b": b"2"}) == weights_hash({"b": b"2", "a": b"1"})
    assert weights_hash({"a": b"1", "b": b"2"}) != weights_hash({"a": b"2", "b": b"1"})


def test_smollm2_in_its_wheel_and_saved(smollm2: Path, tmp_path: Path) -> None:
    save_folder(None, open_checkpoint(str(smollm2)), tmp_path / "saved")
    assert known_by(smollm2) == known_by(tmp_path / "saved")
