"""Mistral: LLaMA whose layers see a window of the last tokens only.

Source: Jiang et al. 2023, arXiv:2310.06825, section 2 (window of 4,096; later releases have none).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutelage.models.architectures import _rotary
from tutelage.models.architectures._rotary import RotaryConfig, preset, tiny
from tutelage.models.spec import Spec

DEFAULTS = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
}


def read(config: Mapping[str, Any]) -> RotaryConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    layers = int(config.get("num_hidden_layers") or 32)
    return _rotary.read(config, DEFAULTS, windows=_rotary.windows(config, layers))


PRESETS = {
    "mistral-tiny": tiny("Mistral", sliding_window=64),
    "mistral-7b": preset(
        "Mistral", 4096, 14336, 32, 32, 8, vocab_size=32000, max_position_embeddings=32768,
        sliding_window=4096, rms_norm_eps=1e-5,
    ),
}  # fmt: skip

SPEC = Spec(
    name="mistral",
    family="decoder",
    hf_architectures=("MistralForCausalLM", "MistralModel"),
    read=read,
    shape=_rotary.shape,
    layout=_rotary.layout,
    build=_rotary.build,
    presets=PRESETS,
    prefix="model",
    ignored=_rotary.IGNORED,
)
