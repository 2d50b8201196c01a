"""The Switch Transformer equals transformers' on the same random weights, tokens dropped too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration
from transformers.models.switch_transformers.modeling_switch_transformers import (
    load_balancing_loss_func,
    router_z_loss_func,
)

from tests.parity.architecture import PAD, TOLERANCE, rows_of
from tests.parity.pairs import (
    SIDES,
    check_decoding,
    check_logits,
    check_loss,
    check_saved,
    their_count,
)
from tests.parity.witness import VOCABULARY, checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import ConfigError
from tutelage.generate.score import score
from tutelage.models.catalogue import find_preset, layout
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import forward
from tutelage.nn.moe import CrowdedExperts, side_loss
from tutelage.plan.parameters import total

SMALL = {
    "d_model": 32, "d_kv": 8, "d_ff": 24, "num_layers": 4, "num_decoder_layers": 4, "num_heads": 4,
    "num_experts": 5, "num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 2,
    "pad_token_id": PAD, "decoder_start_token_id": PAD,
}  # fmt: skip
CROWDED = {"expert_capacity": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "roomy": {},
    "crowded": CROWDED,
    "every layer": {"num_sparse_encoder_layers": 4, "num_sparse_decoder_layers": 4, **CROWDED},
    "decoder alone": {"num_layers": 1, "num_sparse_encoder_layers": 0, "router_bias": True},
    "own head": {"tie_word_embeddings": False, "dense_act_fn": "gelu", **CROWDED},
}


def twins(name: str, seed: int = 0) -> tuple[Any, EncoderDecoder]:
    torch.manual_seed(seed)
    settings = {"vocab_size": VOCABULARY, **SMALL, **VARIANTS[name]}
    kind = SwitchTransformersForConditionalGeneration
    theirs = kind(SwitchTransformersConfig(**settings, architectures=[kind.__name__])).float()
    theirs.eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    for stack in (theirs.encoder, theirs.decoder):  # untied in theirs since version 5
        stack.embed_tokens.weight = theirs.shared.weight
    return theirs, build(checkpoint_of(theirs))


def experts_of(ours: Any) -> list[CrowdedExperts]:
    return [part for part in ours.modules() if isinstance(part, CrowdedExperts)]


@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name: str) -> None:
    """In theirs padding on the left takes room from the row's own tokens."""
    theirs, ours = twins(name)
    check_logits(theirs, ours, SIDES if "expert_capacity" not in VARIANTS[name] else ("right",))
    crowded = [not part.routing.kept.all() for part in experts_of(ours) if part.routing]
    assert crowded and all(crowded) == ("expert_capacity" in VARIANTS[name])


@pytest.mark.parametrize("name", ["roomy", "crowded", "own head"])
def test_loss_gradients_and_saving(name: str, tmp_path: Path) -> None:
    theirs, ours = twins(name, seed=1)
    if theirs.config.tie_word_embeddings:  # else theirs expects its token table three times
        check_saved(theirs, ours, tmp_path)
    for model in (theirs, ours):  # an expert that no token reaches has no gradient in either
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
    check_loss(theirs, ours)


@pytest.mark.parametrize("name", ["roomy", "crowded", "every layer"])
def test_decoding(name: str) -> None:
    """What earlier tokens of an answer took, later ones find taken."""
    check_decoding(*twins(name, seed=2))


def test_tokens_whose_scores_nobody_wants_take_room() -> None:
    _, ours = twins("every layer", seed=3)
    source, target = rows_of((12, 20), seed=8)
    whole = Example.pair(source, target, ours.start)
    part = Example.pair(source, target, ours.start, given=15)
    got, wanted = (score(ours, [one])[0].log_probabilities for one in (part, whole))
    assert got == pytest.approx(wanted[15:], abs=1e-5)


def test_side_losses() -> None:
    """Balance and size of scores of every sparse layer, and their gradients, on one row."""
    theirs, ours = twins("crowded", seed=4)
    ours.requires_grad_(True)
    source, target = rows_of((17, 11), seed=9)
    example = Example.pair(source, target, ours.start)
    forward(ours, pack([example]), memory_of([example]))
    mine = side_loss(ours)
    assert mine is not None
    mine.backward()
    read = torch.tensor([[ours.start, *target[:-1]]])
    found = theirs(
        input_ids=torch.tensor([source]), decoder_input_ids=read, output_router_logits=True
    )
    routers = (*found.encoder_router_logits, *found.decoder_router_logits)
    balance = sum(load_balancing_loss_func(one.softmax(-1), one.argmax(-1)) for one in routers)
    size = sum(router_z_loss_func(one) for one in routers)
    wanted = 0.001 * balance + 0.001 * size
    wanted.backward()
    assert mine.item() == pytest.approx(wanted.item(), rel=1e-5)
    layers = [*theirs.encoder.block, *theirs.decoder.block]
    sparse = [layer.layer[-1].mlp for layer in layers if layer.is_sparse]
    for part, their in zip(experts_of(ours), sparse, strict=True):
        got, expected = part.router.weight.grad, their.router.classifier.weight.grad
        assert got is not None and (got - expected).abs().max() < TOLERANCE


PUBLISHED = {
    "switch-base-8": 619_339_008,
    "switch-base-128": 7_415_217_408,
    "switch-large-128": 26_309_291_008,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts(name: str) -> None:
    config = find_preset(name)
    tables = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"]
    their = SwitchTransformersConfig(**config)
    count = their_count(SwitchTransformersForConditionalGeneration, their, tables)
    assert total(layout(config)) == count == PUBLISHED[name]


def test_the_largest_has_as_many_as_its_paper_says() -> None:
    """1571 billion (table 9 of the paper)."""
    assert round(total(layout(find_preset("switch-c-2048"))) / 1e9) == 1571


def test_fresh_routers_use_all_experts() -> None:
    model = build(open_checkpoint("preset:switch-tiny"))
    row = Example.pair(tuple(range(5, 205)), (3, 4), model.start)
    with torch.inference_mode():
        forward(model, pack([row]), memory_of([row]))
    routing = experts_of(model)[0].routing
    assert routing is not None and routing.asked.sum(0).min() > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dense_act_fn", "gated-gelu"), ("router_dtype", "bfloat16"),
        ("router_ignore_padding_tokens", True), ("is_decoder", True), ("num_experts", 0),
    ],
)  # fmt: skip
def test_what_is_not_honoured_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        layout({**find_preset("switch-tiny"), field: value})
    assert caught.value.field is not None and field in caught.value.field
