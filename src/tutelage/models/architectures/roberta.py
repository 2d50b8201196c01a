"""RoBERTa: BERT trained longer and on masked tokens alone; XLM-R is the same with many languages.

    positions start behind the padding's id: row 0 of a text reads row pad_token_id + 1 of the table

Source: Liu et al. 2019, arXiv:1907.11692, section 3; positions as in fairseq, in whose tables the
rows up to the padding's are never read. No next sentence, one type of part, byte-level pieces; the
layer before the scores has gelu whatever the blocks have. XLM-R: Conneau et al. 2020,
arXiv:1911.02116. All else is BERT's (`bert.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.models.architectures import bert
from tutelage.models.architectures.bert import BertConfig, Outputs
from tutelage.models.fields import settled
from tutelage.models.headed import encoder_forms
from tutelage.models.spec import Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.transformer import Transformer

CLASSES = {
    f"{family}{kind}": outputs
    for family in ("Roberta", "XLMRoberta")
    for kind, outputs in (("Model", Outputs(pooler=True)), ("ForMaskedLM", Outputs(scores=True)))
}


@dataclass(frozen=True)
class RobertaConfig:
    """The shape of one model, and the id whose row of the position table is the last unread one."""

    encoder: BertConfig
    pad_token_id: int

    @property
    def first_position(self) -> int:
        return self.pad_token_id + 1


def read(config: Mapping[str, Any]) -> RobertaConfig:
    """From config.json of any transformers version. Raises ConfigError for what is not honoured."""
    wanted = {
        "encoder": bert.read_encoder(config, CLASSES, 50265),
        "pad_token_id": config.get("pad_token_id", 1),
    }
    built = settled(RobertaConfig, wanted)
    rows = built.encoder.max_position_embeddings
    if not 0 <= built.pad_token_id < rows - 1:
        raise ConfigError(
            "no position is left behind the padding's id",
            field="pad_token_id",
            got=built.pad_token_id,
            expected=f"0 .. {rows - 2}, as max_position_embeddings is {rows}",
        )
    return built


def shape(config: RobertaConfig) -> Shape:
    found = bert.shape(config.encoder)
    rows = config.encoder.max_position_embeddings
    return replace(found, context=rows - config.first_position)


def layout(config: RobertaConfig) -> Iterator[Weight]:
    """Every stored weight, in the order of the forward pass."""
    scores = config.encoder.outputs.scores
    yield from bert.encoder_layout(config.encoder, "roberta." if scores else "")
    if scores:
        yield from bert.head_layout(
            config.encoder,
            dense="lm_head.dense",
            layer_norm="lm_head.layer_norm",
            decoder="lm_head.decoder",
            bias="lm_head.bias",
        )


def build(config: RobertaConfig) -> Transformer:
    """The module, its weights not yet set."""
    return bert.build_encoder(
        config.encoder, first_position=config.first_position, head_activation="gelu"
    )


def _preset(kind: str, width: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    published = {
        "model_type": "roberta",
        "vocab_size": 50265,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
    }
    return bert.preset(kind, width, layers, heads, **{**published, **more})


XLM_R = {"model_type": "xlm-roberta", "vocab_size": 250002}
PRESETS = {
    "roberta-tiny": _preset("RobertaForMaskedLM", 64, 2, 4, vocab_size=260),
    "roberta-base": _preset("RobertaModel", 768, 12, 12),
    "roberta-large": _preset("RobertaModel", 1024, 24, 16),
    "xlm-roberta-base": _preset("XLMRobertaModel", 768, 12, 12, **XLM_R),
    "xlm-roberta-large": _preset("XLMRobertaModel", 1024, 24, 16, **XLM_R),
}

SPEC = Spec(
    name="roberta",
    family="encoder",
    hf_architectures=tuple(CLASSES),
    read=read,
    shape=shape,
    layout=layout,
    build=build,
    presets=PRESETS,
    prefix="roberta",
    ignored=(r"embeddings\.position_ids$", r"(^|\.)pooler\.dense\.", r"^lm_head\."),
    heads=encoder_forms("roberta", dense="classifier.dense"),
)
