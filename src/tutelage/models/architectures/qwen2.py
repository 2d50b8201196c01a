"""Qwen2: LLaMA with biases on queries, keys and values alone.

Source: Yang et al. 2024, arXiv:2407.10671, section 2.2; Qwen2.5 (arXiv:2412.15115) is the same.
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
    return _rotary.read(config, DEFAULTS, qkv_bias=True, windows=found)


PRESETS = {
    "qwen2-tiny": tiny("Qwen2"),
    "qwen2-0.5b": preset(
        "Qwen2", 896, 4864, 24, 14, 2, vocab_size=151936, max_position_embeddings=131072,
        rope_theta=1_000_000.0, tie_word_embeddings=True,
    ),
    "qwen2-7b": preset(
        "Qwen2", 3584, 18944, 28, 28, 4, vocab_size=152064, max_position_embeddings=131072,
        rope_theta=1_000_000.0,
    ),
}  # fmt: skip

SPEC = Spec(
    name="qwen2",
    family="decoder",
    hf_architectures=("Qwen2ForCausalLM", "Qwen2Model"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
    heads=decoder_forms(answering="transformer"),
)
