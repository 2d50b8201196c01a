"""LLaMA and its relatives equal transformers' on the same random weights."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from tests.parity.architecture import (
    check_decoding,
    check_gradients,
    check_logits,
    check_saved,
    twins,
)

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, biases, tied": (
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, window": ("Mistral", {"sliding_window": 4}),
    "qwen2": ("Qwen2", {"head_dim": 8}),
    "qwen2, window in the last layer": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2, "head_dim": 8},
    ),
    "qwen3": ("Qwen3", {}),
    "qwen3, biases, tied": ("Qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
    "gemma": ("Gemma", {}),
    "gemma, one key head": ("Gemma", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "smollm3": ("SmolLM3", {"no_rope_layer_interval": 2, "head_dim": 8}),
}


def made(name: str, seed: int = 0) -> Any:
    family, changes = CASES[name]
    kind = getattr(transformers, f"{family}ForCausalLM")
    config = getattr(transformers, f"{family}Config")
    return twins(kind, config, seed, **{**SMALL, **changes})


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_logits(name: str, seed: int) -> None:
    check_logits(*made(name, seed))


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_saving(name: str) -> None:
    theirs, ours = made(name, 2)
    check_saved(theirs, ours)
    check_gradients(theirs, ours)


@pytest.mark.parametrize("name", CASES)
def test_decoding(name: str) -> None:
    check_decoding(made(name, 3)[1])
