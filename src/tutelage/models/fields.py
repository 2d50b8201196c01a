"""What a field of config.json can hold, by its name: the same for every architecture.

Checked before an architecture reads its configuration, so that it may compute with what it finds.
A field that is null is one that is left out; of names that are not listed nothing is said here.
What is read is a frozen dataclass, `settled` by the types of its fields: plans read configurations
and nothing else, and pydantic, the way of all other schemas, would take longer than the plan.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tutelage.errors import ConfigError, did_you_mean

Schema = TypeVar("Schema")

MOST = 65_536
"""Layers, heads or experts: a layout lists each of them."""
LARGEST = 2**31 - 1
"""Sizes, so that the numbers of a matrix can be counted."""

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


def _real(value: Any) -> bool:
    """Whether it is a finite number that a float can be; JSON has whole ones that are too large."""
    number = _whole(value) or isinstance(value, float)
    return number and abs(value) <= sys.float_info.max


RULES: tuple[tuple[frozenset[str], Callable[[Any], bool], str], ...] = (
    (COUNTS, lambda x: _whole(x) and 1 <= x <= MOST, f"a whole number from 1 to {MOST:,}"),
    (SIZES, lambda x: _whole(x) and 1 <= x <= LARGEST, f"a whole number from 1 to {LARGEST:,}"),
    (STEPS, lambda x: _whole(x) and 0 <= x <= LARGEST, f"a whole number from 0 to {LARGEST:,}"),
    (NUMBERS, lambda x: _real(x) and x >= 0, "a number of at least 0"),
    (SWITCHES, lambda x: isinstance(x, bool), "true or false"),
    (OBJECTS, lambda x: isinstance(x, Mapping), "an object"),
    (LISTS, lambda x: isinstance(x, (list, tuple)), "a list"),
)


def check_fields(config: Mapping[str, Any]) -> None:
    """Raise ConfigError naming the first field of a config.json with a value it cannot have."""
    for names, holds, expected in RULES:
        for name in sorted(names & config.keys()):
            if config[name] is not None and not holds(config[name]):
                raise wrong(f"config.json: {name}", config[name], expected)


def known(config: Mapping[str, Any], schema: type) -> dict[str, Any]:
    """Those fields of a config.json that the schema has; the rest is Hugging Face's business."""
    return {name: config[name] for name in get_type_hints(schema) if name in config}


def settled(
    schema: type[Schema], values: Mapping[str, Any], where: str = "config.json: "
) -> Schema:
    """A frozen dataclass of these values, each of the type of its field; whole numbers stand for
    floats, objects for dataclasses. Raises ConfigError naming the first field that is unknown,
    missing or of another type."""
    kinds = get_type_hints(schema)
    for name in values:
        if name not in kinds:
            raise ConfigError(
                f"unknown key {name!r}", field=where + name, got=name,
                expected="one of " + ", ".join(sorted(kinds)), hint=did_you_mean(name, kinds),
            )  # fmt: skip
    for field in fields(schema):  # type: ignore[arg-type]
        if field.name not in values and field.default is MISSING:
            raise ConfigError(
                f"missing key {field.name!r}", field=where + field.name, got="nothing",
                expected=PLAIN[kind][1] if (kind := kinds[field.name]) in PLAIN else "a value",
            )  # fmt: skip
    return schema(**{name: _as(kinds[name], each, where + name) for name, each in values.items()})


def _as(kind: Any, value: Any, field: str) -> Any:
    """The value as one of this type. Raises ConfigError."""
    if kind in PLAIN:
        holds, expected = PLAIN[kind]
        if not holds(value):
            raise wrong(field, value, expected)
        return kind(value)
    if isinstance(kind, type) and is_dataclass(kind):
        return value if isinstance(value, kind) else settled(kind, value, f"{field}.")
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise wrong(field, value, "one of " + ", ".join(get_args(kind)))
        return value
    if get_origin(kind) is tuple:
        return tuple(_as(get_args(kind)[0], each, field) for each in value)
    return None if value is None else _as(get_args(kind)[0], value, field)  # X | None


PLAIN: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    int: (_whole, "a whole number"),
    float: (_real, "a number"),
    bool: (lambda x: isinstance(x, bool), "true or false"),
    str: (lambda x: isinstance(x, str), "a text"),
}


def wrong(field: str, got: Any, expected: str) -> ConfigError:
    """The error of a field with a value that it cannot have."""
    return ConfigError(
        "a value this field of a configuration cannot have",
        field=field, got=repr(got), expected=expected,
    )  # fmt: skip
