"""Gemma: LLaMA with wide heads, GeGLU, token vectors scaled by sqrt(C), and gains stored less 1.

Source: Gemma Team 2024, arXiv:2403.08295, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, root, tiny
from tutelage.models.parts import refuse
from tutelage.models.spec import Spec

WIDTH = 3072
DEFAULTS = {
    "vocab_size": 256000,
    "hidden_size": WIDTH,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "hidden_act": "gelu_pytorch_tanh",
}


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    refuse(config, use_bidirectional_attention=False)
    bias = bool(config.get("attention_bias", False))
    width = int(config.get("hidden_size") or WIDTH)
    # The first release said "gelu" and meant its approximation by tanh.
    said = config.get("hidden_activation") or config.get("hidden_act")
    meant = "gelu_pytorch_tanh" if said in (None, "gelu") else said
    return _rotary.read(
        {**config, "hidden_act": meant}, DEFAULTS, qkv_bias=bias, o_bias=bias,
        embed_scale=root(width), norm_offset=1.0,
    )  # fmt: skip


PRESETS = {
    "gemma-tiny": tiny("Gemma", head_dim=32, hidden_act="gelu_pytorch_tanh"),
    "gemma-2b": preset(
        "Gemma", 2048, 16384, 18, 8, 1, head_dim=256, vocab_size=256000,
        max_position_embeddings=8192, tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh",
    ),
    "gemma-7b": preset(
        "Gemma", 3072, 24576, 28, 16, 16, head_dim=256, vocab_size=256000,
        max_position_embeddings=8192, tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh",
    ),
}  # fmt: skip

SPEC = Spec(
    name="gemma",
    family="decoder",
    hf_architectures=("GemmaForCausalLM", "GemmaModel"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
)
