"""BERT: an encoder. Every token sees the whole row; post-norm, learned positions, types of parts.

    x = norm(tokens[id] + types[type] + positions(position)),   blocks norm(x + f(x)), no final norm
    scores = W norm(gelu(D x + d)) + b,   W the token table;    pooled = tanh(P x_[CLS] + p)

Source: Devlin et al. 2019, arXiv:1810.04805, section 3 and appendix A.2; layer of the head and
pooler as in their code. There is no dropout here: the probabilities in a configuration have no
effect. MiniLM (Wang et al. 2020, arXiv:2002.10957) is a small BERT by its shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tutelage.models.fields import settled
from tutelage.models.parts import activation, divisible, linear, norm, refuse
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class Outputs:
    """What a class of Hugging Face's computes from the vectors of the last block."""

    pooler: bool = False
    scores: bool = False
    next_sentence: bool = False


@dataclass(frozen=True)
class BertConfig:
    """The shape of one model, in Hugging Face's field names, and what it computes at its end."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    tie_word_embeddings: bool
    outputs: Outputs


CLASSES = {
    "BertModel": Outputs(pooler=True),
    "BertForMaskedLM": Outputs(scores=True),
    "BertForPreTraining": Outputs(pooler=True, scores=True, next_sentence=True),
}


def read(config: Mapping[str, Any]) -> BertConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    return read_encoder(config, CLASSES, 30522)


def read_encoder(
    config: Mapping[str, Any], classes: Mapping[str, Outputs], vocabulary: int
) -> BertConfig:
    """The same of a relative, with its classes and the vocabulary of its published model."""
    refuse(config, is_decoder=False, add_cross_attention=False, pruned_heads={})
    refuse(config, position_embedding_type="absolute")
    named = next(name for name in config["architectures"] if name in classes)
    wanted = {
        "vocab_size": config.get("vocab_size", vocabulary),
        "hidden_size": config.get("hidden_size", 768),
        "num_hidden_layers": config.get("num_hidden_layers", 12),
        "num_attention_heads": config.get("num_attention_heads", 12),
        "intermediate_size": config.get("intermediate_size", 3072),
        "hidden_act": activation(config, "hidden_act", "gelu"),
        "max_position_embeddings": config.get("max_position_embeddings", 512),
        "type_vocab_size": config.get("type_vocab_size", 2),
        "layer_norm_eps": config.get("layer_norm_eps", 1e-12),
        "tie_word_embeddings": config.get("tie_word_embeddings", True),
        "outputs": classes[named],
    }
    built = settled(BertConfig, wanted)
    divisible(built.hidden_size, built.num_attention_heads, "num_attention_heads")
    return built


def shape(config: BertConfig) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_attention_heads,
        head_width=config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def layout(config: BertConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    yield from encoder_layout(config, "bert." if config.outputs.scores else "")
    if config.outputs.scores:
        yield from head_layout(
            config,
            dense="cls.predictions.transform.dense",
            layer_norm="cls.predictions.transform.LayerNorm",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
        )
    if config.outputs.next_sentence:
        yield from linear(
            "pooler.labels", "cls.seq_relationship", 2, config.hidden_size, "pooler.labels",
            bias=True,
        )  # fmt: skip


def encoder_layout(config: BertConfig, base: str) -> Iterator[Weight]:
    """All but the head, under names that begin with `base`."""
    width, hidden = config.hidden_size, config.intermediate_size
    tables = [
        ("embed.tokens", "word_embeddings", config.vocab_size, "embed"),
        ("embed.types", "token_type_embeddings", config.type_vocab_size, "embed.type"),
        ("embed.positions", "position_embeddings", config.max_position_embeddings,
         "embed.position"),
    ]  # fmt: skip
    linears = [
        ("attn.q", "attention.self.query", width, width),
        ("attn.k", "attention.self.key", width, width),
        ("attn.v", "attention.self.value", width, width),
        ("attn.o", "attention.output.dense", width, width),
        ("mlp.up", "intermediate.dense", hidden, width),
        ("mlp.down", "output.dense", width, hidden),
    ]
    for path, name, rows, role in tables:
        yield Weight(f"{path}.weight", f"{base}embeddings.{name}.weight", (rows, width), role)
    yield from _norm("embed.norm", f"{base}embeddings.LayerNorm", width)
    for i in range(config.num_hidden_layers):
        ours, theirs = f"blocks.{i}", f"{base}encoder.layer.{i}"
        for role, name, out, into in linears:
            yield from linear(f"{ours}.{role}", f"{theirs}.{name}", out, into, role, i, bias=True)
        yield from _norm(f"{ours}.norm_attn", f"{theirs}.attention.output.LayerNorm", width, i)
        yield from _norm(f"{ours}.norm_mlp", f"{theirs}.output.LayerNorm", width, i)
    if config.outputs.pooler:
        yield from linear("pooler.dense", f"{base}pooler.dense", width, width, "pooler", bias=True)


def head_layout(
    config: BertConfig, *, dense: str, layer_norm: str, decoder: str, bias: str
) -> Iterator[Weight]:
    """The layer before the scores, and of the scores what the token table does not give."""
    width, vocabulary = config.hidden_size, config.vocab_size
    yield from linear("head.transform.dense", dense, width, width, "head.transform", bias=True)
    yield from _norm("head.transform.norm", layer_norm, width)
    if config.tie_word_embeddings:
        others = (f"{decoder}.bias",)
        yield Weight("head.bias", bias, (vocabulary,), "head.bias", others=others)
    else:
        yield from linear("head.linear", decoder, vocabulary, width, "head", bias=True)


def _norm(path: str, hf_name: str, width: int, layer: int | None = None) -> Iterator[Weight]:
    """Gain and shift, which files made from Google's own call gamma and beta."""
    old = {"weight": "gamma", "bias": "beta"}
    for weight in norm(path, hf_name, width, layer, bias=True):
        base, _, kind = weight.hf_name.rpartition(".")
        yield replace(weight, others=(f"{base}.{old[kind]}",))


def build(config: BertConfig) -> Transformer:
    """The module, its weights not yet set."""
    return build_encoder(config, first_position=0, head_activation=config.hidden_act)


def build_encoder(config: BertConfig, *, first_position: int, head_activation: str) -> Transformer:
    """The same, whose rows begin at a position of the table; the layer before the scores has an
    activation of its own."""
    from tutelage.models.transformer import Transformer
    from tutelage.nn.embedding import Embed, Embedding
    from tutelage.nn.head import Head, Transform
    from tutelage.nn.linear import Linear
    from tutelage.nn.norm import LayerNorm
    from tutelage.nn.pooler import Pooler
    from tutelage.nn.positions import Learned

    width, vocabulary, eps = config.hidden_size, config.vocab_size, config.layer_norm_eps
    outputs, head = config.outputs, None
    if outputs.scores:
        tied = config.tie_word_embeddings
        head = Head(
            None if tied else Linear(width, vocabulary, "head", bias=True),
            Transform(width, head_activation, LayerNorm(width, eps)),
            vocabulary if tied else 0,
        )
    return Transformer(
        embed=Embed(
            Embedding(vocabulary, width),
            Learned(config.max_position_embeddings, width, first_position),
            Embedding(config.type_vocab_size, width, "embed.type"),
            LayerNorm(width, eps),
        ),
        blocks=[_block(config) for _ in range(config.num_hidden_layers)],
        norm=None,
        head=head,
        context=config.max_position_embeddings - first_position,
        pooler=Pooler(width, 2 if outputs.next_sentence else 0) if outputs.pooler else None,
    )


def _block(config: BertConfig) -> Any:
    from tutelage.nn.attend import Rule
    from tutelage.nn.attention import Attention, Heads
    from tutelage.nn.block import PostNorm
    from tutelage.nn.mlp import MLP
    from tutelage.nn.norm import LayerNorm

    width, count, eps = config.hidden_size, config.num_attention_heads, config.layer_norm_eps
    return PostNorm(
        Attention(
            width, Heads(count, count, width // count), Rule(causal=False), bias=True, bias_out=True
        ),
        MLP(width, config.intermediate_size, config.hidden_act),
        LayerNorm(width, eps),
        LayerNorm(width, eps),
    )


def preset(kind: str, width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    """A configuration of this shape, as config.json has it."""
    return {
        "architectures": [kind],
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        **more,
    }


PRESETS = {
    "bert-tiny": preset("BertForMaskedLM", 64, 2, 4, vocab_size=260),
    "bert-base": preset("BertModel", 768, 12, 12),
    "bert-large": preset("BertModel", 1024, 24, 16),
    "minilm-l6": preset("BertModel", 384, 6, 12),
}
"""The published shapes are BertModel, the encoder with its pooler and without scores, as which they
are counted; the tiny one has scores, to be pretrained."""

SPEC = Spec(
    name="bert",
    family="encoder",
    hf_architectures=tuple(CLASSES),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="bert",
    # Files of one class often keep the ends of another beside it, or what is tied a second time.
    ignored=(r"embeddings\.position_ids$", r"(^|\.)pooler\.dense\.", r"^cls\."),
)
