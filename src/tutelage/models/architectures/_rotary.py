"""What LLaMA and its relatives are made of; each file beside says in which parts it differs.

Pre-norm with RMSNorm, rotary positions, grouped heads, a gated feed-forward network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.models.fields import settled, wrong
from tutelage.models.parts import activation, linear, norm, paired
from tutelage.models.spec import Shape, Start, Weight
from tutelage.nn.pairs import WindowPairs

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "llama3")
IGNORED = (r"rotary_emb\.inv_freq$", r"^lm_head\.weight$")
"""Names in files that hold nothing learned, or a tied head's second copy."""


@dataclass(frozen=True)
class RopeScaling:
    """How rotary positions reach beyond the context they were trained on (`nn/rope.py`). All of
    its numbers but the last are above 0."""

    rope_type: str = "default"
    rope_theta: float = 10_000.0
    factor: float = 1.0
    original_max_position_embeddings: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            number = isinstance(value, int | float) and name != "attention_factor"
            if number and value <= 0:
                raise wrong(f"config.json: rope.{name}", value, "a number above 0")


@dataclass(frozen=True)
class RotaryConfig:
    """The shape of one model, in Hugging Face's field names, and the parts it is made of."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope: RopeScaling
    tie_word_embeddings: bool
    activation: str = "silu"
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False
    """Queries and keys are normalized head by head."""
    windows: tuple[int | None, ...] = ()
    """How far back each layer sees; empty: every layer sees all."""
    unrotated: tuple[int, ...] = ()
    """Layers that know no positions."""
    embed_scale: float = 1.0
    norm_offset: float = 0.0
    experts: int = 0
    """Feed-forward networks of a layer, of which each token uses `experts_used`; 0: the one."""
    experts_used: int = 2
    balance_weight: float = 0.0


DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "hidden_act": "silu",
}
"""Of Hugging Face's LLaMA, for fields a file leaves out."""


def read(
    config: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, **parts: Any
) -> RotaryConfig:
    """The common fields of config.json, whatever transformers' version wrote it; `parts` are those
    the architecture decides. Raises ConfigError for what is not honoured."""
    known = {**DEFAULTS, **(defaults or {})}

    def field(name: str) -> Any:
        found = config.get(name)
        return known.get(name) if found is None else found

    heads = field("num_attention_heads")
    wanted = {
        **{name: field(name) for name in RotaryConfig.__annotations__ if name in known},
        "num_key_value_heads": field("num_key_value_heads") or heads,
        "head_dim": field("head_dim") or field("hidden_size") // heads,
        "rope": _rope(config, known["rope_theta"]),
        "activation": activation(config, "hidden_act", known["hidden_act"]),
        **parts,
    }
    built = settled(RotaryConfig, wanted)
    paired(built.head_dim)
    if built.num_attention_heads % built.num_key_value_heads:
        raise ConfigError(
            "query heads must be a multiple of key-value heads",
            field="num_key_value_heads",
            got=built.num_key_value_heads,
            expected=f"a divisor of {built.num_attention_heads}",
        )
    return built


def windows(config: Mapping[str, Any], layers: int, used: bool = True) -> tuple[int | None, ...]:
    """How far back each layer sees: those `layer_types` names, or all, as `sliding_window` says."""
    size = config.get("sliding_window") if used else None
    kinds = config.get("layer_types") or []
    if size is None:
        return ()
    if not kinds:
        return (size,) * layers
    if len(kinds) != layers:
        raise ConfigError(
            "a kind for every layer", field="layer_types", got=len(kinds), expected=layers
        )
    for kind in kinds:
        if kind not in ("full_attention", "sliding_attention"):
            raise ConfigError("unsupported kind of layer", field="layer_types", got=kind)
    return tuple(size if kind == "sliding_attention" else None for kind in kinds)


def _rope(config: Mapping[str, Any], theta: float) -> dict[str, Any]:
    """`rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (before)."""
    raw = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    raw["rope_type"] = raw.pop("type", None) or raw.get("rope_type") or "default"
    raw.setdefault("rope_theta", config.get("rope_theta", theta))
    if raw["rope_type"] not in ROPE_TYPES:
        raise ConfigError(
            "unsupported rope scaling",
            field="rope_scaling.rope_type",
            got=raw["rope_type"],
            expected="one of " + ", ".join(ROPE_TYPES),
        )
    return {key: value for key, value in raw.items() if value is not None}


def shape(config: RotaryConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_width=config.head_dim,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
        plain=config.activation == "silu"
        and not (config.windows or config.head_norms or config.norm_offset or config.experts),
        sees=tuple(None if size is None else WindowPairs(size) for size in config.windows),
    )


def layout(config: RotaryConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    width, hidden = config.hidden_size, config.intermediate_size
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    linears = [
        ("attn.q", "self_attn.q_proj", queries, width, config.qkv_bias),
        ("attn.k", "self_attn.k_proj", keys, width, config.qkv_bias),
        ("attn.v", "self_attn.v_proj", keys, width, config.qkv_bias),
        ("attn.o", "self_attn.o_proj", width, queries, config.o_bias),
    ]
    dense = [
        ("mlp.gate", "mlp.gate_proj", hidden, width, config.mlp_bias),
        ("mlp.up", "mlp.up_proj", hidden, width, config.mlp_bias),
        ("mlp.down", "mlp.down_proj", width, hidden, config.mlp_bias),
    ]
    linears += [] if config.experts else dense
    start: Start | None = "zeros" if config.norm_offset else None
    vocabulary = (config.vocab_size, width)
    yield Weight("embed.tokens.weight", "model.embed_tokens.weight", vocabulary, "embed")
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        for name, their in (
            ("norm_attn", "input_layernorm"),
            ("norm_mlp", "post_attention_layernorm"),
        ):
            yield from norm(f"{ours}.{name}", f"{theirs}.{their}", width, i, start=start)
        if config.head_norms:
            for name in ("q_norm", "k_norm"):
                yield from norm(
                    f"{ours}.attn.{name}", f"{theirs}.self_attn.{name}", config.head_dim, i
                )
        for role, name, rows, columns, bias in linears:
            yield from linear(
                f"{ours}.{role}", f"{theirs}.{name}", rows, columns, role, i, bias=bias
            )
        yield from _experts(config, ours, theirs, i)
    yield from norm("norm", "model.norm", width, start=start)
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", vocabulary, "head")


def _experts(config: RotaryConfig, ours: str, theirs: str, layer: int) -> Iterator[Weight]:
    width, hidden, sparse = config.hidden_size, config.intermediate_size, "block_sparse_moe"
    if not config.experts:
        return
    yield from linear(
        f"{ours}.mlp.router", f"{theirs}.{sparse}.gate", config.experts, width, "router", layer
    )
    parts = [
        ("gate", "w1", hidden, width),
        ("up", "w3", hidden, width),
        ("down", "w2", width, hidden),
    ]
    for number in range(config.experts):
        for role, name, out, into in parts:
            yield from linear(
                f"{ours}.mlp.experts.{number}.{role}", f"{theirs}.{sparse}.experts.{number}.{name}",
                out, into, f"mlp.{role}", layer, idle=number >= config.experts_used,
            )  # fmt: skip


def build(config: RotaryConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.norm import RMSNorm

    width, eps, offset = config.hidden_size, config.rms_norm_eps, config.norm_offset

    def block(layer: int) -> PreNorm:
        return PreNorm(
            _attention(config, layer),
            _feed_forward(config),
            RMSNorm(width, eps, offset),
            RMSNorm(width, eps, offset),
        )

    tied = config.tie_word_embeddings
    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width), scale=config.embed_scale),
        blocks=[block(layer) for layer in range(config.num_hidden_layers)],
        norm=RMSNorm(width, eps, offset),
        head=Head(None if tied else Linear(width, config.vocab_size, "head")),
        context=config.max_position_embeddings,
        rope=_build_rope(config),
    )


def _feed_forward(config: RotaryConfig) -> Any:
    from tutelage.nn.mlp import GatedMLP
    from tutelage.nn.moe import Experts

    width = config.hidden_size
    made = [
        GatedMLP(width, config.intermediate_size, config.mlp_bias, config.activation)
        for _ in range(config.experts or 1)
    ]
    if not config.experts:
        return made[0]
    return Experts(
        width, made, config.experts_used, shared=True, balance_weight=config.balance_weight
    )


def _attention(config: RotaryConfig, layer: int) -> Any:
    from tutelage.nn.attend import Rule
    from tutelage.nn.attention import Attention, Heads
    from tutelage.nn.norm import RMSNorm
    from tutelage.nn.patterns import Window

    window = config.windows[layer] if config.windows else None
    norms = None
    if config.head_norms:
        norms = (
            RMSNorm(config.head_dim, config.rms_norm_eps),
            RMSNorm(config.head_dim, config.rms_norm_eps),
        )
    return Attention(
        config.hidden_size,
        Heads(config.num_attention_heads, config.num_key_value_heads, config.head_dim),
        Rule(sees=None if window is None else Window(window)),
        bias=config.qkv_bias,
        bias_out=config.o_bias,
        norms=norms,
        rotates=layer not in config.unrotated,
    )


def _build_rope(config: RotaryConfig) -> Any:
    from tutelage.nn.rope import Rope

    rope = config.rope
    return Rope(
        head_width=config.head_dim,
        theta=rope.rope_theta,
        scaling=rope.rope_type,  # type: ignore[arg-type]  # checked in _rope
        factor=rope.factor,
        original_context=rope.original_max_position_embeddings or config.max_position_embeddings,
        low_frequency_factor=rope.low_freq_factor,
        high_frequency_factor=rope.high_freq_factor,
        beta_fast=rope.beta_fast,
        beta_slow=rope.beta_slow,
        attention_factor=rope.attention_factor,
    )


def preset(
    name: str, width: int, hidden: int, layers: int, heads: int, keys: int, **more: Any
) -> dict[str, Any]:
    """A config.json of the architecture `name` (of the class NAMEForCausalLM)."""
    return {
        "architectures": [f"{name}ForCausalLM"],
        "model_type": name.lower(),
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "initializer_range": 0.02,
        **more,
    }


def tiny(name: str, **more: Any) -> dict[str, Any]:
    """The smallest sensible one, over bytes."""
    sizes = {"vocab_size": 260, "max_position_embeddings": 512, "tie_word_embeddings": True}
    return preset(name, 64, 176, 2, 4, 2, **{**sizes, **more})


def root(width: int) -> float:
    """The scale sqrt(C) of token vectors."""
    return math.sqrt(width)
