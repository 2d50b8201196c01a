"""The shape of a model: by its name, by one number, or from the model to go on from.

    sized(6, "llama", vocabulary=8192, context=512)     # a config.json

By depth L: width C = 64 L if not given, heads of width 64, feed-forward network 4 C, or 8/3 C where
it is gated, rounded to 64, tied head. An encoder-decoder has L layers in each of its stacks.
Source: the aspect ratio of 64 is near the optimum of Kaplan et al. 2020, arXiv:2001.08361, figure
5, which is flat between 32 and 128.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tutelage.errors import ConfigError, UnknownName
from tutelage.models.catalogue import find_preset

ASPECT = 64
HEAD = 64
Config = dict[str, Any]


def sized(
    depth: int, architecture: str, vocabulary: int, context: int, width: int | None = None
) -> Config:
    """The config.json of a model of that many layers. Raises UnknownName, or ConfigError for a
    width that is not made of heads."""
    width = width or ASPECT * depth
    if architecture not in BY_DEPTH:
        raise UnknownName("architecture", architecture, BY_DEPTH, field="model.architecture")
    if width % HEAD:
        raise ConfigError(
            "a width is made of heads", field="model.width", got=width,
            expected=f"a multiple of {HEAD}",
        )  # fmt: skip
    return BY_DEPTH[architecture](depth, width, vocabulary, context)


def gated_width(width: int) -> int:
    """Of a gated feed-forward network with about as many weights as one of 4 C."""
    return HEAD * round(8 * width / 3 / HEAD)


def _llama(depth: int, width: int, vocabulary: int, context: int) -> Config:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": gated_width(width),
        "num_hidden_layers": depth,
        "num_attention_heads": width // HEAD,
        "num_key_value_heads": width // HEAD,
        "max_position_embeddings": context,
        "vocab_size": vocabulary,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    }


def _gpt2(depth: int, width: int, vocabulary: int, context: int) -> Config:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": width,
        "n_layer": depth,
        "n_head": width // HEAD,
        "n_positions": context,
        "vocab_size": vocabulary,
        "initializer_range": 0.02,
    }


def _bert(depth: int, width: int, vocabulary: int, context: int) -> Config:
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": width // HEAD,
        "max_position_embeddings": context,
        "type_vocab_size": 2,
        "vocab_size": vocabulary,
        "initializer_range": 0.02,
    }


def _t5(depth: int, width: int, vocabulary: int, context: int) -> Config:
    """T5 v1.0: its positions end nowhere, so that the context is no part of it."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "d_model": width,
        "d_ff": 4 * width,
        "d_kv": HEAD,
        "num_layers": depth,
        "num_heads": width // HEAD,
        "feed_forward_proj": "relu",
        "vocab_size": vocabulary,
    }


BY_DEPTH: Mapping[str, Callable[[int, int, int, int], Config]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "bert": _bert,
    "t5": _t5,
}


def preset(name: str, vocabulary: int, context: int | None) -> Config:
    """A preset's shape with this vocabulary, and a context of this length or its own. Raises
    UnknownName."""
    config = dict(find_preset(name))
    for field in ("max_position_embeddings", "n_positions", "seq_length"):
        if context is not None and field in config:
            config[field] = context
    return {**config, "vocab_size": vocabulary}
