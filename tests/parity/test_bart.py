"""BART equals transformers' on the same random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from tests.parity.architecture import PAD, twins
from tests.parity.pairs import check_decoding, check_logits, check_loss, check_saved, their_count
from tests.parity.witness import checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import ConfigError
from tutelage.models.catalogue import find_preset, layout
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.plan.parameters import by_part, total

SMALL = {
    "d_model": 32, "encoder_layers": 3, "decoder_layers": 3, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "init_std": 0.2,
    "max_position_embeddings": 64, "pad_token_id": PAD, "decoder_start_token_id": 2,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled embedding": {"scale_embedding": True},
    "relu": {"activation_function": "relu"},
    "uneven stacks": {
        "encoder_layers": 1, "decoder_layers": 4, "encoder_ffn_dim": 24,
        "decoder_attention_heads": 2,
    },
    "one head": {"encoder_attention_heads": 1, "decoder_attention_heads": 1},
}  # fmt: skip


def bart_twins(name: str, seed: int = 0) -> tuple[Any, EncoderDecoder]:
    """A pair whose bias of the scores is not zero."""
    settings: dict[str, Any] = {**SMALL, **VARIANTS[name]}
    theirs, _ = twins(BartForConditionalGeneration, BartConfig, seed, **settings)
    theirs.final_logits_bias.copy_(torch.randn_like(theirs.final_logits_bias))
    return theirs, build(checkpoint_of(theirs))


@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name: str) -> None:
    """Their positions count the padding, so that it can stand on the right alone."""
    check_logits(*bart_twins(name), sides=["right"])


@pytest.mark.parametrize("name", ["plain", "scaled embedding", "uneven stacks"])
def test_loss_gradients_and_saving(name: str, tmp_path: Path) -> None:
    theirs, ours = bart_twins(name, seed=1)
    check_saved(theirs, ours, tmp_path)
    check_loss(theirs, ours)


@pytest.mark.parametrize("name", ["plain", "scaled embedding", "uneven stacks"])
def test_decoding(name: str, decoding: str) -> None:
    check_decoding(*bart_twins(name, seed=2))


PUBLISHED = {"bart-base": 139_420_416, "bart-large": 406_291_456}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(name: str) -> None:
    """The bias of the scores is stored and is no parameter, here and there."""
    config = find_preset(name)
    assert total(layout(config)) == sum(by_part(layout(config)).values()) == PUBLISHED[name]
    tables = [f"model.{stack}.embed_tokens.weight" for stack in ("encoder", "decoder")]
    kind, theirs = BartForConditionalGeneration, BartConfig(**config)
    assert their_count(kind, theirs, [*tables, "lm_head.weight"]) == PUBLISHED[name]


def test_the_tiny_preset_is_built_as_it_is_counted() -> None:
    checkpoint = open_checkpoint("preset:bart-tiny")
    model = build(checkpoint)
    assert sum(p.numel() for p in model.parameters()) == total(layout(checkpoint.config))
    assert not model.head_bias.requires_grad and model.head_bias.abs().max() == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("normalize_before", True),
        ("tie_word_embeddings", False),
        ("activation_function", "cube"),
        ("decoder_attention_heads", 5),
    ],
)
def test_what_is_not_honoured_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        layout({**find_preset("bart-tiny"), field: value})
    assert caught.value.field == field
