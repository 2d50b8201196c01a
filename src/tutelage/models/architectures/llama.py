"""LLaMA: pre-norm with RMSNorm, rotary positions, grouped heads, SwiGLU, no biases by default.

Source: Touvron et al. 2023, arXiv:2302.13971 (LLaMA) and arXiv:2307.09288 (Llama 2: grouped heads);
SmolLM2 (Allal et al. 2025, arXiv:2502.02737) is this architecture with a tied head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, tiny
from tutelage.models.headed import decoder_forms
from tutelage.models.spec import Spec


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    attention = bool(config.get("attention_bias", False))
    return _rotary.read(
        config,
        qkv_bias=attention,
        o_bias=attention,
        mlp_bias=bool(config.get("mlp_bias", False)),
    )


PRESETS = {
    "llama-tiny": tiny("Llama", rms_norm_eps=1e-5),
    "smollm2-135m": preset(
        "Llama", 576, 1536, 30, 9, 3, vocab_size=49152, max_position_embeddings=8192,
        rope_theta=100_000.0, tie_word_embeddings=True, rms_norm_eps=1e-5,
    ),
    "llama-7b": preset(
        "Llama", 4096, 11008, 32, 32, 32, vocab_size=32000, max_position_embeddings=2048,
        rms_norm_eps=1e-5,
    ),
    "llama3-8b": preset(
        "Llama", 4096, 14336, 32, 32, 8, vocab_size=128256, max_position_embeddings=8192,
        rope_theta=500_000.0, rms_norm_eps=1e-5,
    ),
}  # fmt: skip

SPEC = Spec(
    name="llama",
    family="decoder",
    hf_architectures=("LlamaForCausalLM", "LlamaModel"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
    heads=decoder_forms(answering="transformer"),
)
