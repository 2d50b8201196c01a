"""The C++ step computes the model it was written for and leaves every other one alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from tests.parity.witness import checkpoint_of, pair, their_llama
from tutelage.checkpoints.build import build
from tutelage.generate.step import Stepper
from tutelage.kernels.library import library
from tutelage.models.transformer import Transformer
from tutelage.nn.cache import STEP, Cache
from tutelage.nn.embedding import Tokens
from tutelage.nn.norm import RMSNorm
from tutelage.nn.reading import DecodeStep
from tutelage.nn.rope import Rope

pytestmark = pytest.mark.skipif(library() is None, reason="the library was not built")

FEW, MANY = 6, 64
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


SHAPES = {
    "even": {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "num_key_value_heads": 1},
    "odd": {"hidden_size": 32, "intermediate_size": 56, "head_dim": 24, "num_key_value_heads": 2},
    "biased": {"hidden_size": 64, "intermediate_size": 64, "attention_bias": True,
               "mlp_bias": True, "vocab_size": 112},
}  # fmt: skip
"""What the processor's bfloat16 pairs can multiply; what they cannot; with biases."""


def stepped(model: Transformer, rows: int, paged: bool, kernel: bool) -> torch.Tensor:
    """Logits after a token in every second slot of a cache full of random numbers that either type
    holds; in `paged` ones rows of up to three blocks share their first."""
    drawn = torch.Generator().manual_seed(rows)
    heads = (model.heads.key_value, model.heads.width)
    longest, blocks = (3 * STEP, 4 * rows + 1) if paged else (30, None)
    like = torch.empty(0, dtype=model.compute)
    cache = Cache(model.layers, 2 * rows, longest, heads, like, blocks)
    if paged:
        own = torch.randperm(4 * rows, generator=drawn).view(2 * rows, 2) + 1
        cache.table[:] = torch.cat([torch.zeros_like(own[:, :1]), own], 1)
    for kept in (cache.keys, cache.values):
        kept.copy_(torch.randn(kept.shape, generator=drawn).bfloat16())
    shortest = STEP if paged else 0  # shared blocks are not written
    cache.lengths.copy_(torch.randint(shortest, longest, (2 * rows,), generator=drawn))
    ids, slots = torch.randint(0, 90, (2 * rows,), generator=drawn), torch.arange(0, 2 * rows, 2)
    with torch.inference_mode():
        if kernel:
            stepper = Stepper.of(model)
            assert stepper is not None
            return stepper.step(cache, slots, ids[slots])
        hidden = model.hidden(Tokens(ids, cache.lengths), DecodeStep(cache))
        return model.logits(hidden)[slots]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("rows", [1, 6, 7, 8, 9, 64])
def test_a_step_equals_pytorchs(rows: int, paged: bool, shape: str) -> None:
    model = build(checkpoint_of(their_llama(3, **SHAPES[shape])))
    assert isinstance(model, Transformer)
    ours, plain = (stepped(model, rows, paged, kernel) for kernel in (True, False))
    assert (ours - plain).abs().max() < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 6, 7, 8, 9, 64])
def test_bfloat16_is_no_worse_than_pytorchs(rows: int, shape: str) -> None:
    """Both against float32 of the same rounded weights, keys and values."""
    checkpoint = checkpoint_of(their_llama(3, **SHAPES[shape]).bfloat16().float())
    half, full = build(checkpoint, "bf16"), build(checkpoint)
    assert isinstance(half, Transformer) and isinstance(full, Transformer)
    exact = stepped(full, rows, True, kernel=False)
    ours, theirs = (
        (stepped(half, rows, True, kernel=kernel).float() - exact).square().mean().sqrt()
        for kernel in (True, False)
    )
    assert ours < 1.05 * theirs, (ours, theirs)


def test_tens_of_rows_are_taken_where_the_processor_multiplies_pairs() -> None:
    def most(shape: str, dtype: str) -> int:
        stepper = Stepper.of(build(checkpoint_of(their_llama(3, **SHAPES[shape])), dtype))
        assert stepper is not None
        return stepper.most_rows

    assert most("even", "fp32") == most("odd", "bf16") == most("even", "fp32") == FEW
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    assert most("even", "bf16") == (MANY if "avx512_bf16" in flags else FEW)
