"""Models with the head of a task in the place of the scores of tokens: any architecture, any head.

    spec_for({"architectures": ["LlamaForTokenClassification"], ...})     found through here

A head is a linear map behind the vectors, with a layer before it where Hugging Face's class has
one. This file says under which names their classes keep it; what a head learns and answers stands
in `heads/`. Knows no tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tutelage.models.parts import linear
from tutelage.models.spec import Family, HeadForm, Shape, Spec, Weight

if TYPE_CHECKING:
    from tutelage.models.forward import Model

TASK = "task"
"""The role of a task head's weights, and the module that holds them."""
KEY = "task_head"
"""The key of config.json, ours alone, that names the head where the class does not tell."""
SUFFIXES: Mapping[str, str] = {
    "classification": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
    "multiple-choice": "ForMultipleChoice",
    "question-answering": "ForQuestionAnswering",
}
"""How Hugging Face's classes with a head are called, behind the architecture's own name."""
SINGLE = frozenset({"regression", "multiple-choice"})
"""Heads with one score a row."""
SPAN = 2
"""Scores a token of a head that finds spans: that it is the first, and that it is the last."""
OTHER_HEADS = (r"^lm_head\.", r"^cls\.", r"(^|\.)pooler\.", r"^final_logits_bias$")
"""Ends of other classes that files keep beside a model's own."""
_CLASS = re.compile(
    r"(ForCausalLM|LMHeadModel|ForMaskedLM|ForPreTraining|ForConditionalGeneration|WithLMHeadModel"
    r"|Model)$"
)


def decoder_forms(
    trunk: str = "model", tokens: str = "score", answering: str | None = None
) -> dict[str, HeadForm]:
    """Of a decoder: the last token's vector decides. There is no class for multiple choice, which
    is kept as a class of sequences with one score."""
    one = HeadForm(trunk, "score", bias=False)
    return {
        "classification": one,
        "regression": one,
        "token-classification": HeadForm(trunk, tokens),
        "multiple-choice": replace(one, suffix="ForSequenceClassification"),
        "question-answering": HeadForm(answering or trunk, "qa_outputs"),
    }


def encoder_forms(trunk: str, dense: str | None = None) -> dict[str, HeadForm]:
    """Of an encoder: the first token's vector through the pooler, or through a layer of the head's
    own at `dense`, whose last map is then beside it."""
    pooled = HeadForm(trunk, pooled=True)
    own = HeadForm(trunk, "classifier.out_proj", dense=dense) if dense else pooled
    return {
        "classification": own,
        "regression": own,
        "token-classification": HeadForm(trunk),
        "multiple-choice": pooled,
        "question-answering": HeadForm(trunk, "qa_outputs"),
    }


def pair_forms(trunk: str, answering: str) -> dict[str, HeadForm]:
    """Of an encoder-decoder, both of which read the text: the decoder's last vector decides; tokens
    are told apart by the encoder alone."""
    last = HeadForm(trunk, "classification_head.out_proj", dense="classification_head.dense")
    return {
        "classification": last,
        "regression": last,
        "token-classification": HeadForm(trunk, encoder=True),
        "multiple-choice": replace(last, suffix="ForSequenceClassification"),
        "question-answering": HeadForm(answering, "qa_outputs"),
    }


USUAL: Mapping[Family, Callable[[Spec], dict[str, HeadForm]]] = {
    "encoder": lambda spec: encoder_forms(spec.prefix),
    "decoder": lambda spec: decoder_forms(spec.prefix),
    "encoder-decoder": lambda spec: pair_forms(spec.prefix, spec.prefix),
}


def form_of(spec: Spec, head: str) -> HeadForm:
    """As the architecture says, else as its family does."""
    return (spec.heads or USUAL[spec.family](spec))[head]


@dataclass(frozen=True)
class Headed:
    """The configuration of a model with a head: the model's own, and how many scores there are."""

    base: Any
    head: str
    form: HeadForm
    outputs: int


def head_of(config: Mapping[str, Any]) -> str | None:
    """The name of the head a config.json speaks of; None for a model without one."""
    named = str(next(iter(config.get("architectures") or []), ""))
    known = config.get(KEY)
    for head, suffix in SUFFIXES.items():
        if known == head and re.search(r"For(Sequence|Token|Multiple|Question)\w+$", named):
            return head
        if known is None and named.endswith(suffix):
            regression = config.get("problem_type") == "regression"
            return "regression" if suffix.startswith("ForSeq") and regression else head
    return None


def stem_of(config: Mapping[str, Any]) -> str:
    """The architecture's own name, as in LlamaForCausalLM."""
    named = str(next(iter(config.get("architectures") or []), ""))
    for suffix in SUFFIXES.values():
        named = named.removesuffix(suffix)
    return _CLASS.sub("", named)


def outputs_of(config: Mapping[str, Any], head: str) -> int:
    """How many scores: one for each label, where there are labels; two by default, as theirs."""
    if head in SINGLE:
        return 1
    if head == "question-answering":
        return SPAN
    labels = config.get("id2label")
    return len(labels) if labels else int(config.get("num_labels") or 2)


def headed(spec: Spec, config: Mapping[str, Any]) -> Spec | None:
    """The architecture with the head that a config.json speaks of, if it speaks of one of its."""
    head, stem = head_of(config), stem_of(config)
    if head is None:
        return None
    own = [name for name in spec.hf_architectures if _CLASS.sub("", name) == stem]
    if not own:
        return None
    form = form_of(spec, head)
    base = f"{stem}Model" if f"{stem}Model" in own else own[0]
    return replace(
        spec,
        family="encoder" if form.encoder else spec.family,
        hf_architectures=(stem + (form.suffix or SUFFIXES[head]),),
        read=lambda raw: _read(spec, base, head, form, raw),
        shape=lambda made: _shape(spec, made),
        layout=lambda made: _layout(spec, made),
        build=lambda made: _build(spec, made),
        prefix=form.trunk,
        ignored=(*spec.ignored, *OTHER_HEADS),
    )


def _read(spec: Spec, base: str, head: str, form: HeadForm, raw: Mapping[str, Any]) -> Headed:
    """Theirs say of a class that leaves the decoder out that there is none."""
    both = {"is_encoder_decoder": True} if form.encoder else {}
    made = spec.read({**raw, **both, "architectures": [base]})
    return Headed(made, head, form, outputs_of(raw, head))


def _shape(spec: Spec, config: Headed) -> Shape:
    found = spec.shape(config.base)
    if not config.form.encoder:
        return found
    return replace(found, layers=found.encoder_layers, encoder_layers=0, start=None)


def _layout(spec: Spec, config: Headed) -> Iterator[Weight]:
    """The model's weights under the names of the class with the head, and the head's."""
    form, width = config.form, spec.shape(config.base).width
    for weight in spec.layout(config.base):
        path = f".{weight.path}"
        if ".head." in path or ".pooler.labels" in path:
            continue
        if ".pooler." in path and not form.pooled:
            continue
        if form.encoder and path.startswith(".decoder."):
            continue
        yield _renamed(spec, weight, form)
    yield from _head_layout(form, width, config.outputs)


def _renamed(spec: Spec, weight: Weight, form: HeadForm) -> Weight:
    def name(own: str) -> str:
        bare = own.removeprefix(f"{spec.prefix}.") if spec.prefix else own
        return f"{form.trunk}.{bare}" if form.trunk else bare

    path = weight.path.removeprefix("encoder.") if form.encoder else weight.path
    others = tuple(name(one) for one in weight.others)
    return replace(weight, path=path, hf_name=name(weight.hf_name), others=others)


def _head_layout(form: HeadForm, width: int, outputs: int) -> Iterator[Weight]:
    if form.dense is not None:
        yield from linear(f"{TASK}.dense", form.dense, width, width, TASK, bias=True)
    yield from linear(f"{TASK}.out", form.out, outputs, width, TASK, bias=form.bias)


def _build(spec: Spec, config: Headed) -> Model:
    from tutelage.models.encoder_decoder import EncoderDecoder
    from tutelage.nn.task_head import TaskHead

    model: Model = spec.build(config.base)
    form, width = config.form, spec.shape(config.base).width
    if isinstance(model, EncoderDecoder):
        model.decoder.head = None
        model = model.encoder if form.encoder else model
    else:
        model.head = None
        model.pooler = model.pooler if form.pooled else None
    model.task = TaskHead(width, config.outputs, form.bias, form.dense is not None)
    return model
