"""Presets: random weights that follow from seed and name alone."""

from __future__ import annotations

import math

import pytest
import torch

from tutelage.checkpoints import preset as preset_module
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import RandomWeight, preset_checkpoint
from tutelage.errors import SourceError, UnknownName


def test_weights_follow_from_seed_and_name() -> None:
    first, same, other = (preset_checkpoint("llama-tiny", seed) for seed in (0, 0, 1))
    names = list(first.weights)
    matrix = "model.layers.0.self_attn.q_proj.weight"
    for name in reversed(names):  # another order
        assert torch.equal(first.weights[name].load(), same.weights[name].load())
    assert not torch.equal(first.weights[matrix].load(), other.weights[matrix].load())
    sibling = "model.layers.1.self_attn.q_proj.weight"
    assert not torch.equal(first.weights[matrix].load(), first.weights[sibling].load())
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_weights_are_distributed_as_said() -> None:
    matrix = RandomWeight("a.weight", (400, 500), 0.02, seed=7).load()
    standard_error = 0.02 / math.sqrt(2 * matrix.numel())
    assert abs(matrix.std().item() - 0.02) < 5 * standard_error
    assert abs(matrix.mean().item()) < 5 * 0.02 / math.sqrt(matrix.numel())
    assert torch.equal(RandomWeight("norm.weight", (8,), "ones", 7).load(), torch.ones(8))
    assert torch.equal(RandomWeight("a.bias", (8,), "zeros", 7).load(), torch.zeros(8))


def test_a_tiny_preset_carries_bytes() -> None:
    checkpoint = open_checkpoint("preset:llama-tiny")
    assert checkpoint.tokenizer.encode("é") == list("é".encode())
    assert checkpoint.tokenizer.template is not None
    assert checkpoint.config["eos_token_id"] == sorted(checkpoint.tokenizer.eos_ids)
    assert checkpoint.files == ()
    total = sum(math.prod(weight.shape) for weight in checkpoint.weights.values())
    assert checkpoint.bytes == 4 * total


def test_unknown_and_too_small_presets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName) as caught:
        open_checkpoint("preset:llama-tyni")
    assert caught.value.hint == "did you mean 'llama-tiny'?"
    small = {**preset_module.find_preset("llama-tiny"), "vocab_size": 100}
    monkeypatch.setattr(preset_module, "find_preset", lambda name: small)
    with pytest.raises(SourceError, match="too small a vocabulary"):
        preset_checkpoint("llama-tiny")
