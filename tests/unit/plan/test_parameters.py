"""Counts against transformers' own models, closed forms and the sum over built adapters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from tutelage.models.catalogue import find_preset, layout
from tutelage.plan.parameters import (
    by_part,
    dimensions,
    linear_roles,
    lora_parameters,
    size,
    total,
)

PRESETS = ["llama-tiny", "smollm2-135m", "llama-7b", "llama3-8b"]
LINEAR_ROLES = linear_roles(layout(find_preset("llama-tiny")))
ENCODERS = {
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "minilm-l6": 22_713_216,
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "xlm-roberta-base": 278_043_648,
    "xlm-roberta-large": 559_890_432,
}
"""With their poolers and without the layers before the scores, as these models are published."""


def built(config: dict[str, Any]) -> torch.nn.Module:
    """transformers' model of this shape, on the meta device: shapes only."""
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.for_model(**config)
        )


@pytest.mark.parametrize("preset", PRESETS)
def test_total_is_what_transformers_builds(preset: str) -> None:
    config = dict(find_preset(preset))
    entries = layout(config)
    assert total(entries) == sum(p.numel() for p in built(config).parameters())
    assert sum(by_part(entries).values()) == total(entries)


def test_published_totals() -> None:
    assert total(layout(find_preset("smollm2-135m"))) == 134_515_008
    assert total(layout(find_preset("llama-7b"))) == 6_738_415_616
    assert total(layout(find_preset("llama3-8b"))) == 8_030_261_248
    assert total(layout(find_preset("gpt3-175b"))) == 174_604_259_328
    for name, count in ENCODERS.items():
        assert total(layout(find_preset(name))) == count


def test_encoders_have_as_many_as_transformers_builds() -> None:
    for name in ENCODERS:
        config = dict(find_preset(name))
        kind = getattr(transformers, config["architectures"][0])
        with torch.device("meta"):
            model = kind(transformers.AutoConfig.for_model(**config))
        assert sum(p.numel() for p in model.parameters()) == ENCODERS[name]


def test_parts_are_the_closed_forms() -> None:
    width, hidden, layers, vocabulary, keys = 576, 1536, 30, 49152, 192
    assert by_part(layout(find_preset("smollm2-135m"))) == {
        "embed": vocabulary * width,
        "norm": (2 * layers + 1) * width,
        "attn.q": layers * width * width,
        "attn.k": layers * width * keys,
        "attn.v": layers * width * keys,
        "attn.o": layers * width * width,
        "mlp.gate": layers * width * hidden,
        "mlp.up": layers * width * hidden,
        "mlp.down": layers * width * hidden,
    }


def test_dimensions_are_those_of_the_configuration() -> None:
    found = dimensions(layout(find_preset("llama3-8b")))
    assert (found.vocabulary, found.width, found.layers) == (128256, 4096, 32)
    assert (found.query, found.key, found.value, found.hidden) == (4096, 1024, 1024, 14336)
    assert found.gated and not found.tied
    assert dimensions(layout(find_preset("smollm2-135m"))).tied


def test_dimensions_of_fused_projections_and_of_encoders() -> None:
    gpt2 = dimensions(layout(find_preset("gpt2")))
    assert (gpt2.query, gpt2.key, gpt2.value, gpt2.hidden) == (768, 768, 768, 3072)
    assert not gpt2.gated and gpt2.centred and not gpt2.rotated
    bert = dimensions(layout(find_preset("bert-base")))
    assert (bert.vocabulary, bert.width, bert.layers) == (30522, 768, 12)
    assert (bert.query, bert.key, bert.value, bert.hidden) == (768, 768, 768, 3072)
    llama = dimensions(layout(find_preset("llama-tiny")))
    assert llama.rotated and not llama.centred


def test_biases_are_counted_and_do_not_change_the_widths() -> None:
    plain = dict(find_preset("llama-tiny"))
    biased = layout({**plain, "attention_bias": True})
    width, keys, layers = 64, 32, 2
    assert total(biased) - total(layout(plain)) == layers * (2 * width + 2 * keys)
    assert dimensions(biased).query == width
    assert lora_parameters(biased, 4, LINEAR_ROLES) == lora_parameters(
        layout(plain), 4, LINEAR_ROLES
    )


# peft 0.21 asks transformers 5.23 for an attribute by its old name.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("roles", [("attn.q", "attn.v"), LINEAR_ROLES])
@pytest.mark.parametrize("rank", [1, 8])
def test_low_rank_updates_are_what_peft_builds(roles: tuple[str, ...], rank: int) -> None:
    import peft

    config = dict(find_preset("llama-tiny"))
    targets = [role.partition(".")[2] + "_proj" for role in roles]
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config)),
        peft.LoraConfig(r=rank, target_modules=targets),
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert lora_parameters(layout(config), rank, roles) == trained


def test_gpt3_sized_query_updates() -> None:
    """Rank 8 on the query matrices of 96 layers of width 12,288: 2 d r L = 18,874,368."""
    wide = {**find_preset("llama-7b"), "hidden_size": 12288, "num_hidden_layers": 96,
            "num_attention_heads": 96, "num_key_value_heads": 96}  # fmt: skip
    assert lora_parameters(layout(wide), 8, ("attn.q",)) == 18_874_368


def test_a_list_without_a_token_table_is_refused() -> None:
    entries = [e for e in layout(find_preset("llama-tiny")) if e.role != "embed"]
    with pytest.raises(ValueError, match="token table"):
        dimensions(entries)


def test_size_of_a_vector_and_a_matrix() -> None:
    entries = layout(find_preset("llama-tiny"))
    assert {size(e) for e in entries if e.role == "norm"} == {64}
    assert {size(e) for e in entries if e.role == "mlp.up"} == {64 * 176}
