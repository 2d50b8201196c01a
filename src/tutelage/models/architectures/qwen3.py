"""Qwen3: LLaMA that normalizes each head's queries and keys before the rotation.

Source: Yang et al. 2025, arXiv:2505.09388, section 2 (dense models); the norm of queries and keys
is that of Dehghani et al. 2023, arXiv:2302.05442.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, tiny
from tutelage.models.headed import decoder_forms
from tutelage.models.spec import Spec

DEFAULTS = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "max_position_embeddings": 32768,
}


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    layers = int(config.get("num_hidden_layers") or 32)
    used = bool(config.get("use_sliding_window", False))
    found = _rotary.windows(config, layers, used)
    if used and found and not config.get("layer_types"):
        full = int(config.get("max_window_layers", 28))
        found = tuple(size if layer >= full else None for layer, size in enumerate(found))
    bias = bool(config.get("attention_bias", False))
    return _rotary.read(
        config, DEFAULTS, qkv_bias=bias, o_bias=bias, head_norms=True, windows=found
    )


PRESETS = {
    "qwen3-tiny": tiny("Qwen3", head_dim=32),
    "qwen3-0.6b": preset(
        "Qwen3", 1024, 3072, 28, 16, 8, head_dim=128, vocab_size=151936,
        max_position_embeddings=40960, rope_theta=1_000_000.0, tie_word_embeddings=True,
    ),
    "qwen3-8b": preset(
        "Qwen3", 4096, 12288, 36, 32, 8, head_dim=128, vocab_size=151936,
        max_position_embeddings=40960, rope_theta=1_000_000.0,
    ),
}  # fmt: skip

SPEC = Spec(
    name="qwen3",
    family="decoder",
    hf_architectures=("Qwen3ForCausalLM", "Qwen3Model"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
    heads=decoder_forms(answering="transformer"),
)
