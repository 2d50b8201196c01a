"""T5, v1.0 and v1.1, equals transformers' on the same random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.parity.architecture import PAD
from tests.parity.pairs import check_decoding, check_logits, check_loss, check_saved, their_count
from tests.parity.witness import VOCABULARY, checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import ConfigError
from tutelage.models.catalogue import find_preset, layout, shape
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.plan.parameters import total

SMALL = {
    "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 3, "num_heads": 4,
    "pad_token_id": PAD, "decoder_start_token_id": PAD,
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "v1.0": {},
    "v1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated silu": {"feed_forward_proj": "gated-silu"},
    "exact gelu, unscaled": {"feed_forward_proj": "gelu", "tie_word_embeddings": False},
    "wide heads": {"d_kv": 24, "num_heads": 3},
    "deep decoder": {"num_layers": 1, "num_decoder_layers": 4},
    "near buckets": {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 12},
}


def t5_twins(name: str, seed: int = 0) -> tuple[Any, EncoderDecoder]:
    """A pair in which v1.1 has a head of its own, as the published files have."""
    torch.manual_seed(seed)
    settings = {"vocab_size": VOCABULARY, **SMALL, **VARIANTS[name]}
    config = T5Config(**settings, architectures=[T5ForConditionalGeneration.__name__])
    theirs = T5ForConditionalGeneration(config).float().eval()
    if settings.get("tie_word_embeddings") is False:
        theirs.lm_head.weight = torch.nn.Parameter(torch.randn(VOCABULARY, config.d_model) / 4)
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return theirs, build(checkpoint_of(theirs))


@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name: str) -> None:
    check_logits(*t5_twins(name))


@pytest.mark.parametrize("name", ["v1.0", "v1.1", "deep decoder"])
def test_loss_gradients_and_saving(name: str, tmp_path: Path) -> None:
    theirs, ours = t5_twins(name, seed=1)
    check_saved(theirs, ours, tmp_path)
    check_loss(theirs, ours)


@pytest.mark.parametrize("name", ["v1.0", "v1.1", "deep decoder"])
def test_decoding(name: str) -> None:
    check_decoding(*t5_twins(name, seed=2))


PUBLISHED = {
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344,
    "flan-t5-small": 76_961_152,
    "flan-t5-base": 247_577_856,
    "flan-t5-large": 783_150_080,
    "flan-t5-xl": 2_849_757_184,
    "flan-t5-xxl": 11_135_332_352,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(name: str) -> None:
    """Published numbers; the built model of theirs, whose head of v1.1 is made tied since version 5
    and only read as its own from a file."""
    config = find_preset(name)
    assert total(layout(config)) == PUBLISHED[name]
    tables = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    if config.get("tie_word_embeddings") is not False:
        tables.append("lm_head.weight")
    their = T5Config(**config)
    assert their_count(T5ForConditionalGeneration, their, tables) == PUBLISHED[name]
    assert shape(config).encoder_layers == shape(config).layers == their.num_layers


def test_tiny_presets_are_built_as_they_are_counted() -> None:
    for name in ("t5-tiny", "flan-t5-tiny"):
        checkpoint = open_checkpoint(f"preset:{name}")
        model = build(checkpoint)
        assert sum(p.numel() for p in model.parameters()) == total(layout(checkpoint.config))
        assert model.start == checkpoint.tokenizer.pad_id


@pytest.mark.parametrize(
    ("field", "value"),
    [("feed_forward_proj", "gated-cube"), ("is_encoder_decoder", False), ("is_decoder", True)],
)
def test_what_is_not_honoured_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        layout({**find_preset("t5-tiny"), field: value})
    assert caught.value.field == field
