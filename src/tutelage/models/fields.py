"""What a field of config.json can hold, by its name: the same for every architecture.

Checked before an architecture reads its configuration, so that it may compute with what it finds.
A field that is null is one that is left out; of names that are not listed nothing is said here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tutelage.errors import ConfigError

MOST = 65_536
"""Layers, heads or experts: a layout lists each of them."""

COUNTS = frozenset((
    "num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers", "encoder_layers",
    "decoder_layers", "num_attention_heads", "n_head", "num_heads", "num_key_value_heads",
    "encoder_attention_heads", "decoder_attention_heads", "num_experts", "num_local_experts",
    "num_experts_per_tok", "num_labels",
))  # fmt: skip
SIZES = frozenset((
    "vocab_size", "hidden_size", "n_embd", "n_embed", "d_model", "head_dim", "d_kv",
    "intermediate_size", "n_inner", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim",
    "word_embed_proj_dim", "type_vocab_size", "max_position_embeddings", "n_positions",
    "seq_length", "relative_attention_num_buckets", "relative_attention_max_distance",
    "sliding_window", "no_rope_layer_interval", "expert_capacity", "segment", "reach",
    "num_buckets", "most", "rounds",
))  # fmt: skip
STEPS = frozenset((
    "encoder_sparse_step", "decoder_sparse_step", "num_sparse_encoder_layers",
    "num_sparse_decoder_layers", "max_window_layers", "decoder_start_token_id",
))  # fmt: skip
NUMBERS = frozenset((
    "layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "initializer_range",
    "initializer_factor", "init_std", "rope_theta", "router_aux_loss_coef",
    "router_z_loss_coef",
))  # fmt: skip
SWITCHES = frozenset((
    "tie_word_embeddings", "attention_bias", "mlp_bias", "enable_bias", "router_bias",
    "use_sliding_window", "scale_embedding", "scale_decoder_outputs", "do_layer_norm_before",
))  # fmt: skip
OBJECTS = frozenset({"rope_scaling", "rope_parameters"})
LISTS = frozenset({"architectures", "layer_types", "no_rope_layers"})


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return (_whole(value) or isinstance(value, float)) and math.isfinite(value) and value >= 0


RULES: tuple[tuple[frozenset[str], Callable[[Any], bool], str], ...] = (
    (COUNTS, lambda x: _whole(x) and 1 <= x <= MOST, f"a whole number from 1 to {MOST:,}"),
    (SIZES, lambda x: _whole(x) and x >= 1, "a whole number of at least 1"),
    (STEPS, lambda x: _whole(x) and x >= 0, "a whole number of at least 0"),
    (NUMBERS, _number, "a number of at least 0"),
    (SWITCHES, lambda x: isinstance(x, bool), "true or false"),
    (OBJECTS, lambda x: isinstance(x, Mapping), "an object"),
    (LISTS, lambda x: isinstance(x, (list, tuple)), "a list"),
)


def check_fields(config: Mapping[str, Any]) -> None:
    """Raise ConfigError naming the first field of a config.json with a value it cannot have."""
    for names, holds, expected in RULES:
        for name in sorted(names & config.keys()):
            if config[name] is not None and not holds(config[name]):
                raise ConfigError(
                    "a value this field of a configuration cannot have",
                    field=f"config.json: {name}",
                    got=repr(config[name]),
                    expected=expected,
                )
