"""T5: an encoder and a decoder, pre-norm with RMSNorm, no biases, positions as biases of scores.

Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1. Each stack learns one number for every
head and bucket of distances, which all its layers add to their scores (files keep it with the
first); scores are not divided by sqrt(D), which is folded into how the queries begin. ReLU, and a
head tied to the token table, its input scaled by 1 / sqrt(C).
T5 v1.1, which FLAN-T5 (Chung et al. 2022, arXiv:2210.11416) was tuned from, gates the network
(Shazeer 2020, arXiv:2002.05202) and has a head of its own; that head begins with deviation
1 / sqrt(C) as in the authors' code, where transformers draws it with deviation 1. No dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.errors import ConfigError
from tutelage.models.fields import settled
from tutelage.models.headed import pair_forms
from tutelage.models.parts import ACTIVATIONS, linear, norm, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.models.transformer import Transformer
    from tutelage.nn.block import PreNorm
    from tutelage.nn.embedding import Embedding
    from tutelage.nn.mlp import MLP, GatedMLP

Parts = dict[str, Any]
"""What a block is made of beside its feed-forward network, by `PreNorm`'s names."""

GATED = "gated-"


class Place(NamedTuple):
    """A block: in which stack, and its number there."""

    stack: str
    number: int


NetworkLayout = Callable[[Any, Place, str, str, int], Iterator[Weight]]
"""From configuration, block, our path and Hugging Face's layer, and its number from the encoder's
first on, the weights of its feed-forward network."""


@dataclass(frozen=True)
class T5Config:
    """The shape of one model, in Hugging Face's field names; `scale_decoder_outputs` and a head of
    its own (not `tie_word_embeddings`) exclude each other in all published models."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    layer_norm_epsilon: float
    initializer_factor: float
    feed_forward_proj: str
    tie_word_embeddings: bool
    scale_decoder_outputs: bool
    decoder_start_token_id: int

    @property
    def gated(self) -> bool:
        return self.feed_forward_proj.startswith(GATED)

    @property
    def activation(self) -> str:
        """By its name in `nn/activation.py`; "gated-gelu" is the approximation by tanh."""
        name = self.feed_forward_proj.removeprefix(GATED)
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else name


def read(config: Mapping[str, Any]) -> T5Config:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured.

    Since version 5 transformers writes every head as tied and marks v1.1 by an unscaled output:
    such a model has the head its file holds, and the token table's values where it holds none.
    """
    refuse(config, is_encoder_decoder=True, is_decoder=False)
    layers = config.get("num_layers", 6)
    tied = config.get("tie_word_embeddings") is not False
    scaled = config.get("scale_decoder_outputs", tied)
    start = config.get("decoder_start_token_id")
    wanted = {
        "vocab_size": config.get("vocab_size", 32128),
        "d_model": config.get("d_model", 512),
        "d_kv": config.get("d_kv", 64),
        "d_ff": config.get("d_ff", 2048),
        "num_layers": layers,
        "num_decoder_layers": config.get("num_decoder_layers") or layers,
        "num_heads": config.get("num_heads", 8),
        "relative_attention_num_buckets": config.get("relative_attention_num_buckets", 32),
        "relative_attention_max_distance": config.get("relative_attention_max_distance", 128),
        "layer_norm_epsilon": config.get("layer_norm_epsilon", 1e-6),
        "initializer_factor": config.get("initializer_factor", 1.0),
        "feed_forward_proj": config.get("feed_forward_proj", "relu"),
        "tie_word_embeddings": tied and scaled,
        "scale_decoder_outputs": scaled,
        "decoder_start_token_id": (config.get("pad_token_id") or 0) if start is None else start,
    }
    built = settled(T5Config, wanted)
    _check_buckets(built)
    if built.activation not in ACTIVATIONS:
        raise ConfigError(
            "unsupported activation",
            field="feed_forward_proj",
            got=built.feed_forward_proj,
            expected="one of " + ", ".join(ACTIVATIONS) + f", or one of them behind {GATED!r}",
        )
    return built


def _check_buckets(config: T5Config) -> None:
    """Half of a table, or of a side of it, are single distances, and the farthest lies beyond."""
    buckets, farthest = (
        config.relative_attention_num_buckets,
        config.relative_attention_max_distance,
    )
    if buckets < 4:
        raise ConfigError(
            "two buckets or more for either side",
            field="relative_attention_num_buckets",
            got=buckets,
            expected="at least 4",
        )
    if farthest <= buckets // 2:
        raise ConfigError(
            "the farthest distance has a bucket of its own",
            field="relative_attention_max_distance",
            got=farthest,
            expected=f"more than {buckets // 2}, as there are {buckets} buckets",
        )


def shape(config: T5Config) -> Shape:
    return Shape(
        layers=config.num_decoder_layers,
        width=config.d_model,
        heads=config.num_heads,
        kv_heads=config.num_heads,
        head_width=config.d_kv,
        vocabulary=config.vocab_size,
        context=None,
        encoder_layers=config.num_layers,
        start=config.decoder_start_token_id,
    )


def layout(config: T5Config, network: NetworkLayout | None = None) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass; the decoder's layers are counted on
    from the encoder's. `network` lists the feed-forward network of a place, T5's own if None."""
    width, factor = config.d_model, config.initializer_factor
    tables = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    vocabulary, tied = (config.vocab_size, width), config.tie_word_embeddings
    yield Weight(
        "encoder.embed.tokens.weight", "shared.weight", vocabulary, "embed", start=factor,
        others=(*tables, "lm_head.weight") if tied else tables,
    )  # fmt: skip
    network = network or _network
    yield from _stack(config, "encoder", config.num_layers, 0, network)
    yield from _stack(config, "decoder", config.num_decoder_layers, config.num_layers, network)
    if not tied:
        yield Weight(
            "decoder.head.linear.weight", "lm_head.weight", vocabulary, "head",
            start=factor * width**-0.5, others=("shared.weight",),
        )  # fmt: skip


def _stack(
    config: T5Config, name: str, layers: int, before: int, network: NetworkLayout
) -> Iterator[Weight]:
    width, factor = config.d_model, config.initializer_factor
    first = f"{name}.block.0.layer.0.SelfAttention"
    yield Weight(
        f"{name}.bias.weight", f"{first}.relative_attention_bias.weight",
        (config.relative_attention_num_buckets, config.num_heads), "embed.relative",
        start=factor * width**-0.5,
    )  # fmt: skip
    parts = [("attn", "SelfAttention"), ("cross", "EncDecAttention")]
    for i in range(layers):
        ours, theirs, layer = f"{name}.blocks.{i}", f"{name}.block.{i}.layer", before + i
        for place, (part, hf_name) in enumerate(parts[: 1 if name == "encoder" else 2]):
            yield from norm(f"{ours}.norm_{part}", f"{theirs}.{place}.layer_norm", width, layer)
            yield from _attention(config, f"{ours}.{part}", f"{theirs}.{place}.{hf_name}", layer)
        last = 1 if name == "encoder" else 2
        yield from norm(f"{ours}.norm_mlp", f"{theirs}.{last}.layer_norm", width, layer)
        yield from network(config, Place(name, i), f"{ours}.mlp", f"{theirs}.{last}", layer)
    yield from norm(f"{name}.norm", f"{name}.final_layer_norm", width)


def _attention(config: T5Config, ours: str, theirs: str, layer: int) -> Iterator[Weight]:
    width, inner, factor = config.d_model, config.num_heads * config.d_kv, config.initializer_factor
    part = ours.rpartition(".")[2]
    starts = {"q": (width * config.d_kv) ** -0.5, "k": width**-0.5, "v": width**-0.5}
    for name, start in starts.items():
        yield from linear(
            f"{ours}.{name}", f"{theirs}.{name}", inner, width, f"{part}.{name}", layer,
            start=factor * start,
        )  # fmt: skip
    yield from linear(
        f"{ours}.o", f"{theirs}.o", width, inner, f"{part}.o", layer, start=factor * inner**-0.5
    )


def _network(
    config: T5Config, place: Place, ours: str, theirs: str, layer: int
) -> Iterator[Weight]:
    width, hidden, factor = config.d_model, config.d_ff, config.initializer_factor
    inner = [("gate", "wi_0"), ("up", "wi_1")] if config.gated else [("up", "wi")]
    for name, hf_name in inner:
        yield from linear(
            f"{ours}.{name}", f"{theirs}.DenseReluDense.{hf_name}", hidden, width, f"mlp.{name}",
            layer, start=factor * width**-0.5,
        )  # fmt: skip
    yield from linear(
        f"{ours}.down", f"{theirs}.DenseReluDense.wo", width, hidden, "mlp.down", layer,
        start=factor * hidden**-0.5,
    )  # fmt: skip


def build(
    config: T5Config, block: Callable[[Any, Place, Parts], PreNorm] | None = None
) -> EncoderDecoder:
    """The module, its weights not yet set. `block` makes one of its parts, T5's own if None."""
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.nn.embedding import Embedding
    from tutelage.nn.head import Head
    from tutelage.nn.linear import Linear

    table = Embedding(config.vocab_size, config.d_model)
    own = None if config.tie_word_embeddings else Linear(config.d_model, config.vocab_size, "head")
    scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
    made = block or _block
    return EncoderDecoder(
        _build_stack(config, table, config.num_layers, None, made),
        _build_stack(config, table, config.num_decoder_layers, Head(own, scale=scale), made),
        config.decoder_start_token_id,
    )


def _build_stack(
    config: T5Config, table: Embedding, layers: int, head: Any,
    block: Callable[[Any, Place, Parts], PreNorm],
) -> Transformer:  # fmt: skip
    """The decoder where there is a head, else the encoder."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.embedding import Embed
    from tutelage.nn.norm import RMSNorm
    from tutelage.nn.positions import RelativeBias

    decodes = head is not None
    name = "decoder" if decodes else "encoder"
    buckets, furthest = (
        config.relative_attention_num_buckets,
        config.relative_attention_max_distance,
    )
    return Transformer(
        embed=Embed(table),
        blocks=[block(config, Place(name, i), _parts(config, decodes)) for i in range(layers)],
        norm=RMSNorm(config.d_model, config.layer_norm_epsilon),
        head=head,
        context=None,
        bias=RelativeBias(config.num_heads, buckets, furthest, both=not decodes),
    )


def _parts(config: T5Config, decodes: bool) -> Parts:
    from tutelage.nn.attend import Rule
    from tutelage.nn.attention import Attention, CrossAttention, Heads
    from tutelage.nn.norm import RMSNorm

    width = config.d_model
    heads = Heads(config.num_heads, config.num_heads, config.d_kv)
    norms = [RMSNorm(width, config.layer_norm_epsilon) for _ in range(3)]
    cross = CrossAttention(width, heads, Rule(causal=False, scale=1.0)) if decodes else None
    return {
        "attn": Attention(width, heads, Rule(causal=decodes, scale=1.0)),
        "norm_attn": norms[0],
        "norm_mlp": norms[1],
        "cross": cross,
        "norm_cross": norms[2] if decodes else None,
    }


def network(config: T5Config) -> MLP | GatedMLP:
    """A feed-forward network, not yet set."""
    from tutelage.nn.mlp import MLP, GatedMLP

    if config.gated:
        return GatedMLP(config.d_model, config.d_ff, activation=config.activation)
    return MLP(config.d_model, config.d_ff, config.activation, bias=False)


def _block(config: T5Config, place: Place, parts: Parts) -> PreNorm:
    from tutelage.nn.block import PreNorm

    return PreNorm(mlp=network(config), **parts)


def _preset(
    width: int, hidden: int, layers: int, heads: int, head_width: int = 64, **more: Any
) -> dict[str, Any]:
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "d_model": width,
        "d_ff": hidden,
        "num_layers": layers,
        "num_heads": heads,
        "d_kv": head_width,
        "vocab_size": 32128,
        "n_positions": 512,
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": 1e-6,
        **more,
    }


def _flan(width: int, hidden: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    more |= {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    return _preset(width, hidden, layers, heads, **more)


PRESETS = {
    "t5-tiny": _preset(64, 128, 2, 4, 16, vocab_size=260),
    "t5-small": _preset(512, 2048, 6, 8),
    "t5-base": _preset(768, 3072, 12, 12),
    "t5-large": _preset(1024, 4096, 24, 16),
    "t5-3b": _preset(1024, 16384, 24, 32, 128),
    "t5-11b": _preset(1024, 65536, 24, 128, 128),
    "flan-t5-tiny": _flan(64, 128, 2, 4, head_width=16, vocab_size=260),
    "flan-t5-small": _flan(512, 1024, 8, 6),
    "flan-t5-base": _flan(768, 2048, 12, 12),
    "flan-t5-large": _flan(1024, 2816, 24, 16),
    "flan-t5-xl": _flan(2048, 5120, 24, 32),
    "flan-t5-xxl": _flan(4096, 10240, 24, 64),
}

SPEC = Spec(
    name="t5",
    family="encoder-decoder",
    hf_architectures=("T5ForConditionalGeneration", "T5WithLMHeadModel"),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    ignored=(
        r"^(encoder|decoder)\.embed_tokens\.weight$",
        r"^lm_head\.weight$",
        r"EncDecAttention\.relative_attention_bias\.weight$",
    ),
    heads=pair_forms("transformer", answering=""),
)
