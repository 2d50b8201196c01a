"""GPT-2 equals transformers' on the same random weights."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from tests.parity.architecture import (
    check_decoding,
    check_gradients,
    check_logits,
    check_saved,
    twins,
)

SMALL = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "narrow feed-forward": {"n_inner": 48},
    "untied": {"tie_word_embeddings": False},
    "exact gelu": {"activation_function": "gelu"},
    "one head": {"n_head": 1},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name: str) -> None:
    check_logits(*twins(GPT2LMHeadModel, GPT2Config, **{**SMALL, **VARIANTS[name]}))


@pytest.mark.parametrize("name", ["plain", "untied"])
def test_gradients_and_saving(name: str) -> None:
    theirs, ours = twins(GPT2LMHeadModel, GPT2Config, seed=1, **{**SMALL, **VARIANTS[name]})
    check_saved(theirs, ours)
    check_gradients(theirs, ours)


def test_decoding(decoding: str) -> None:
    check_decoding(twins(GPT2LMHeadModel, GPT2Config, seed=2, **SMALL)[1])
