"""Mixtral: LLaMA with eight experts in place of each feed-forward network, two used by each token.

Source: Jiang et al. 2024, arXiv:2401.04088, section 2. No token is dropped, as in its release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.errors import ConfigError
from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, tiny
from tutelage.models.spec import Spec

DEFAULTS = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
}


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    layers = int(config.get("num_hidden_layers") or 32)
    experts, used = config.get("num_local_experts", 8), config.get("num_experts_per_tok", 2)
    if used > experts:
        raise ConfigError(
            "a token uses more experts than there are",
            field="num_experts_per_tok",
            got=used,
            expected=f"1 .. {experts}",
        )
    return _rotary.read(
        config,
        DEFAULTS,
        windows=_rotary.windows(config, layers),
        experts=experts,
        experts_used=used,
        balance_weight=config.get("router_aux_loss_coef", 0.001),
    )


PRESETS = {
    "mixtral-tiny": tiny("Mixtral", num_local_experts=4, num_experts_per_tok=2),
    "mixtral-8x7b": preset(
        "Mixtral", 4096, 14336, 32, 32, 8, vocab_size=32000, max_position_embeddings=32768,
        num_local_experts=8, num_experts_per_tok=2, rms_norm_eps=1e-5, rope_theta=1_000_000.0,
    ),
}  # fmt: skip

SPEC = Spec(
    name="mixtral",
    family="decoder",
    hf_architectures=("MixtralForCausalLM", "MixtralModel"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
)
