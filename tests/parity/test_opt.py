"""OPT and BLOOM equal transformers' on the same random weights."""

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

OPT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "ffn_dim": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": 32,
    "init_std": 0.2,
    "pad_token_id": 0,
}
BLOOM = {"hidden_size": 32, "n_layer": 3, "n_head": 4, "initializer_range": 0.2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": ("OPT", OPT),
    "opt, untied, no biases": ("OPT", {**OPT, "tie_word_embeddings": False, "enable_bias": False}),
    "opt, narrow tokens, norm after": (
        "OPT",
        {**OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": ("Bloom", BLOOM),
    "bloom, six heads": ("Bloom", {**BLOOM, "hidden_size": 36, "n_head": 6}),
    "bloom, untied": ("Bloom", {**BLOOM, "tie_word_embeddings": False}),
}


def made(name: str, seed: int = 0) -> Any:
    family, settings = CASES[name]
    kind = getattr(transformers, f"{family}ForCausalLM")
    return twins(kind, getattr(transformers, f"{family}Config"), seed, **settings)


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
