"""SmolLM3: LLaMA of which every fourth layer knows no positions.

Source: Bakouch et al. 2025, https://huggingface.co/blog/smollm3; the layers without rotation are
those of Yang et al. 2025, arXiv:2501.18795.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, tiny
from tutelage.models.headed import decoder_forms
from tutelage.models.spec import Spec

DEFAULTS = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "rope_theta": 2_000_000.0,
}


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    layers = int(config.get("num_hidden_layers") or DEFAULTS["num_hidden_layers"])
    every = int(config.get("no_rope_layer_interval") or 4)
    rotated = config.get("no_rope_layers") or [(i + 1) % every != 0 for i in range(layers)]
    bias = bool(config.get("attention_bias", False))
    used = bool(config.get("use_sliding_window", False))
    return _rotary.read(
        config, DEFAULTS, qkv_bias=bias, o_bias=bias, mlp_bias=bool(config.get("mlp_bias", False)),
        windows=_rotary.windows(config, layers, used),
        unrotated=tuple(layer for layer, rotates in enumerate(rotated) if not rotates),
    )  # fmt: skip


PRESETS = {
    "smollm3-tiny": tiny("SmolLM3", num_hidden_layers=4),
    "smollm3-3b": preset(
        "SmolLM3", 2048, 11008, 36, 16, 4, vocab_size=128256, max_position_embeddings=65536,
        rope_theta=5_000_000.0, tie_word_embeddings=True,
    ),
}  # fmt: skip

SPEC = Spec(
    name="smollm3",
    family="decoder",
    hf_architectures=("SmolLM3ForCausalLM", "SmolLM3Model"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
    heads=decoder_forms(answering="transformer"),
)
