"""The shape of a model: by its name, by one number, or from the model to go on from.

    sized(6, "llama", vocabulary=8192, context=512)     # a config.json

By depth L: width 64 L, heads of width 64 (at least one more for every 64 of width), feed-forward
network 4 C, or 8/3 C where it is gated, rounded to 64, tied head.
Source: the aspect ratio of 64 is near the optimum of Kaplan et al. 2020, arXiv:2001.08361, figure
5, which is flat between 32 and 128.
"""

from __future__ import annotations

from typing import Any

from tutelage.errors import UnknownName
from tutelage.models.spec import find_preset

ASPECT = 64
HEAD = 64
BY_DEPTH = ("gpt2", "llama")


def sized(depth: int, architecture: str, vocabulary: int, context: int) -> dict[str, Any]:
    """The config.json of a model of that many layers. Raises UnknownName."""
    width = ASPECT * depth
    heads = width // HEAD
    if architecture == "llama":
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": width,
            "intermediate_size": HEAD * round(8 * width / 3 / HEAD),
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": context,
            "vocab_size": vocabulary,
            "rms_norm_eps": 1e-5,
            "initializer_range": 0.02,
            "tie_word_embeddings": True,
        }
    if architecture == "gpt2":
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_embd": width,
            "n_layer": depth,
            "n_head": heads,
            "n_positions": context,
            "vocab_size": vocabulary,
            "initializer_range": 0.02,
        }
    raise UnknownName("architecture", architecture, BY_DEPTH, field="model.architecture")


def preset(name: str, vocabulary: int, context: int | None) -> dict[str, Any]:
    """A preset's shape with this vocabulary, and a context of this length or its own. Raises
    UnknownName."""
    config = dict(find_preset(name))
    for field in ("max_position_embeddings", "n_positions", "seq_length"):
        if context is not None and field in config:
            config[field] = context
    return {**config, "vocab_size": vocabulary}
