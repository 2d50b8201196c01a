"""The C++ step computes the model it was written for and leaves every other one alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch

from tests.parity.witness import pair
from tutelage.generate.step import Stepper
from tutelage.kernels.library import library
from tutelage.models.transformer import Transformer
from tutelage.nn.norm import RMSNorm
from tutelage.nn.rope import Rope

pytestmark = pytest.mark.skipif(library() is None, reason="the library was not built")

PARTS: dict[str, Callable[[Transformer], object]] = {
    "model": lambda model: model,
    "embedding": lambda model: model.embed,
    "block": lambda model: model.blocks[1],
    "attention": lambda model: model.blocks[1].attn,
    "projection": lambda model: model.blocks[1].attn.v,
    "norm": lambda model: model.blocks[1].norm_mlp,
    "last norm": lambda model: model.norm,
    "feed-forward": lambda model: model.blocks[1].mlp,
    "positions": lambda model: model.rope,
    "head": lambda model: model.head,
}


@pytest.fixture
def model() -> Transformer:
    return copy.deepcopy(pair(7)[1])


def test_a_plain_model_is_computed(model: Transformer) -> None:
    assert Stepper.of(model) is not None


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_kind_is_left_to_pytorch(model: Transformer, part: str) -> None:
    """A subclass with the same weights may compute anything: ALiBi, LayerNorm, GELU."""
    changed = PARTS[part](model)
    kind = type("Other", (type(changed),), {})
    if isinstance(changed, Rope):
        model.rope = kind(**{field.name: getattr(changed, field.name) for field in fields(changed)})
    else:
        changed.__class__ = kind
    assert Stepper.of(model) is None


def test_a_part_more_is_left_to_pytorch(model: Transformer) -> None:
    model.blocks[0].attn.q_norm = torch.nn.LayerNorm(8)
    model.blocks[0].attn.q_norm.to(model.compute)
    assert Stepper.of(model) is None


@pytest.mark.parametrize("which", ["norm_attn", "norm_mlp", "last"])
def test_norms_of_another_eps_are_left_to_pytorch(model: Transformer, which: str) -> None:
    norm: RMSNorm = model.norm if which == "last" else getattr(model.blocks[1], which)
    norm.eps *= 2
    assert Stepper.of(model) is None


def test_layers_of_different_shapes_are_left_to_pytorch(model: Transformer) -> None:
    heads = model.blocks[1].attn.heads
    model.blocks[1].attn.heads = replace(heads, query=heads.query * 2, width=heads.width // 2)
    assert Stepper.of(model) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_type_are_left_to_pytorch(
    model: Transformer, dtype: torch.dtype
) -> None:
    model.to(dtype)
    assert Stepper.of(model) is None
