"""LLaMA: pre-norm with RMSNorm, rotary positions, grouped heads, SwiGLU, no biases by default.

Source: Touvron et al. 2023, arXiv:2302.13971 (LLaMA) and arXiv:2307.09288 (Llama 2: grouped heads);
SmolLM2 (Allal et al. 2025, arXiv:2502.02737) is this architecture with a tied head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tutelage.config import Frozen, validate
from tutelage.errors import ConfigError
from tutelage.models.parts import activation, linear, norm
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

ROPE_TYPES = ("default", "linear", "dynamic", "yarn", "llama3")


class RopeScaling(Frozen):
    """How rotary positions reach beyond the context they were trained on (`nn/rope.py`)."""

    rope_type: str = "default"
    rope_theta: float = 10_000.0
    factor: float = 1.0
    original_max_position_embeddings: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None


class LlamaConfig(Frozen):
    """The shape of one model, in Hugging Face's field names."""

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
    attention_bias: bool
    mlp_bias: bool
    tie_word_embeddings: bool


def read(config: Mapping[str, Any]) -> LlamaConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    activation(config, "hidden_act", "silu")
    heads = config.get("num_attention_heads", 32)
    wanted = {
        "vocab_size": config.get("vocab_size", 32000),
        "hidden_size": config.get("hidden_size", 4096),
        "intermediate_size": config.get("intermediate_size", 11008),
        "num_hidden_layers": config.get("num_hidden_layers", 32),
        "num_attention_heads": heads,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or config.get("hidden_size", 4096) // heads,
        "max_position_embeddings": config.get("max_position_embeddings", 2048),
        "rms_norm_eps": config.get("rms_norm_eps", 1e-6),
        "rope": _rope(config),
        "attention_bias": config.get("attention_bias", False),
        "mlp_bias": config.get("mlp_bias", False),
        "tie_word_embeddings": config.get("tie_word_embeddings", False),
    }
    built = validate(LlamaConfig, wanted, where="config.json")
    if built.num_attention_heads % built.num_key_value_heads:
        raise ConfigError(
            "query heads must be a multiple of key-value heads",
            field="num_key_value_heads",
            got=built.num_key_value_heads,
            expected=f"a divisor of {built.num_attention_heads}",
        )
    return built


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """`rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (before)."""
    raw = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    raw["rope_type"] = raw.pop("type", None) or raw.get("rope_type") or "default"
    raw.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    if raw["rope_type"] not in ROPE_TYPES:
        raise ConfigError(
            "unsupported rope scaling",
            field="rope_scaling.rope_type",
            got=raw["rope_type"],
            expected="one of " + ", ".join(ROPE_TYPES),
        )
    return {key: value for key, value in raw.items() if value is not None}


def shape(config: LlamaConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_width=config.head_dim,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def layout(config: LlamaConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    width, hidden = config.hidden_size, config.intermediate_size
    queries = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    linears = [
        ("attn.q", "self_attn.q_proj", queries, width, config.attention_bias),
        ("attn.k", "self_attn.k_proj", keys, width, config.attention_bias),
        ("attn.v", "self_attn.v_proj", keys, width, config.attention_bias),
        ("attn.o", "self_attn.o_proj", width, queries, config.attention_bias),
        ("mlp.gate", "mlp.gate_proj", hidden, width, config.mlp_bias),
        ("mlp.up", "mlp.up_proj", hidden, width, config.mlp_bias),
        ("mlp.down", "mlp.down_proj", width, hidden, config.mlp_bias),
    ]
    vocabulary = (config.vocab_size, width)
    yield Weight("embed.tokens.weight", "model.embed_tokens.weight", vocabulary, "embed")
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        yield from norm(f"{ours}.norm_attn", f"{theirs}.input_layernorm", width, i)
        yield from norm(f"{ours}.norm_mlp", f"{theirs}.post_attention_layernorm", width, i)
        for role, name, rows, columns, bias in linears:
            yield from linear(
                f"{ours}.{role}", f"{theirs}.{name}", rows, columns, role, i, bias=bias
            )
    yield from norm("norm", "model.norm", width)
    if not config.tie_word_embeddings:
        yield Weight("head.linear.weight", "lm_head.weight", vocabulary, "head")


def build(config: LlamaConfig) -> Transformer:
    """The module, its weights not yet set."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.attention import Attention, Heads
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear
    from tutelage.nn.mlp import GatedMLP
    from tutelage.nn.norm import RMSNorm

    width = config.hidden_size
    heads = Heads(config.num_attention_heads, config.num_key_value_heads, config.head_dim)

    def block() -> PreNorm:
        return PreNorm(
            Attention(width, heads, bias=config.attention_bias, bias_out=config.attention_bias),
            GatedMLP(width, config.intermediate_size, config.mlp_bias),
            RMSNorm(width, config.rms_norm_eps),
            RMSNorm(width, config.rms_norm_eps),
        )

    tied = config.tie_word_embeddings
    return Transformer(
        embed=Embed(Embedding(config.vocab_size, width)),
        blocks=[block() for _ in range(config.num_hidden_layers)],
        norm=RMSNorm(width, config.rms_norm_eps),
        head=Head(None if tied else Linear(width, config.vocab_size, "head")),
        context=config.max_position_embeddings,
        rope=_build_rope(config),
    )


def _build_rope(config: LlamaConfig) -> Any:
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


def _preset(
    width: int, hidden: int, layers: int, heads: int, keys: int, **more: Any
) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "rms_norm_eps": 1e-5,
        "initializer_range": 0.02,
        **more,
    }


PRESETS = {
    "llama-tiny": _preset(
        64, 176, 2, 4, 2, vocab_size=260, max_position_embeddings=512, tie_word_embeddings=True
    ),
    "smollm2-135m": _preset(
        576, 1536, 30, 9, 3, vocab_size=49152, max_position_embeddings=8192,
        rope_theta=100_000.0, tie_word_embeddings=True,
    ),
    "llama-7b": _preset(4096, 11008, 32, 32, 32, vocab_size=32000, max_position_embeddings=2048),
    "llama3-8b": _preset(
        4096, 14336, 32, 32, 8, vocab_size=128256, max_position_embeddings=8192,
        rope_theta=500_000.0,
    ),
}  # fmt: skip

SPEC = Spec(
    name="llama",
    family="decoder",
    hf_architectures=("LlamaForCausalLM",),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="model",
    ignored=(r"rotary_emb\.inv_freq$", r"^lm_head\.weight$"),
)
