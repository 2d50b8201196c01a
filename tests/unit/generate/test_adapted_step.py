"""The C++ step computes low-rank adapters too: one, or each row with its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch

from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.generate.test_step import SHAPES, crowded, off
from tutelage.checkpoints.build import build
from tutelage.generate.step import Stepper
from tutelage.kernels.library import library
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Tokens
from tutelage.nn.linear import Linear
from tutelage.nn.low_rank import Adapted
from tutelage.nn.reading import DecodeStep
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._mixed import Mix, MixedLinear
from tutelage.peft._wrapped import put
from tutelage.peft.actions.dora import DoraLinear

pytestmark = pytest.mark.skipif(library() is None, reason="the library was not built")

ROLES = (("attn.q", "attn.k", "attn.v", "attn.o", "mlp.gate", "mlp.up", "mlp.down"),
         ("attn.v", "mlp.down"), ("attn.q", "mlp.gate"))  # fmt: skip
RANKS = (5, 2, 17)
"""Of three adapters with these roles."""


def small(shape: str, dtype: str = "fp32", rounded: bool = False) -> Transformer:
    theirs = their_llama(3, **SHAPES[shape])
    model = build(checkpoint_of(theirs.bfloat16().float() if rounded else theirs), dtype)
    assert isinstance(model, Transformer)
    return model


def update(linear: Linear, rank: int, seed: int, kind: type[LoraLinear] = LoraLinear) -> LoraLinear:
    """Numbers that either type holds, large enough to be seen."""
    drawn = torch.Generator().manual_seed(seed)
    one = kind(linear, rank, 0.5)
    for part in (one.lora_a, one.lora_b):
        part.data = (torch.randn(part.shape, generator=drawn) / 4).bfloat16().to(linear.weight)
    return one


def linears(model: Transformer) -> list[tuple[str, Linear]]:
    return [(p, m) for p, m in model.blocks.named_modules(prefix="blocks") if type(m) is Linear]


def with_one(model: Transformer, kind: type[LoraLinear] = LoraLinear) -> Transformer:
    for seed, (path, linear) in enumerate(linears(model)):
        put(model, path, update(linear, 3, seed, kind))
    return model


def with_three(model: Transformer) -> tuple[Transformer, Mix]:
    """The second adapter only in the first layer."""
    mix = Mix()
    for seed, (path, linear) in enumerate(linears(model)):
        found = [
            (number, update(linear, rank, 10 * seed + number))
            for number, (roles, rank) in enumerate(zip(ROLES, RANKS, strict=True))
            if linear.role in roles and not (number == 1 and ".1." in path)
        ]
        put(model, path, MixedLinear(linear, found, mix, len(RANKS)))
    return model, mix


def both(model: Transformer, rows: int, kernel: bool = True) -> torch.Tensor:
    """Logits after a token in each of so many slots."""
    cache, slots, ids = crowded(model, rows, paged=True)
    with torch.inference_mode():
        if kernel:
            stepper = Stepper.of(model)
            assert stepper is not None
            return stepper.step(cache, slots, ids[:rows])
        tokens = Tokens(ids[:rows], cache.lengths[slots])
        return model.logits(model.hidden(tokens, DecodeStep(cache, slots)))


def owners(rows: int) -> torch.Tensor:
    return torch.arange(rows) % 4 - 1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 6, 7, 64])
def test_one_adapter(rows: int, shape: str) -> None:
    model = small(shape)
    plain = both(model, rows)
    found, expected = (
        both(with_one(copy.deepcopy(model)), rows, kernel) for kernel in (True, False)
    )
    assert (found - expected).abs().max() < 1e-4
    assert (found - plain).abs().max() > 0.1, "the adapter does nothing"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [1, 6, 7, 64])
def test_each_row_its_own(rows: int, shape: str) -> None:
    model, mix = with_three(small(shape))
    mix.put(owners(rows))
    found, expected = (both(model, rows, kernel) for kernel in (True, False))
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_row_has_the_same_bits_whatever_shares_the_step(dtype: str) -> None:
    """Alone with its adapter by itself, and beside five rows of others."""
    model, mix = with_three(small("even", dtype))
    mix.put(owners(6))
    together = both(model, 6)
    cache, slots, ids = crowded(model, 6, paged=True)
    for row in range(6):
        own = small("even", dtype)
        for path, mixed in model.named_modules():
            if isinstance(mixed, MixedLinear):
                alone = alone_of(mixed, int(owners(6)[row]))
                if alone is not None:
                    put(own, path, alone)
        stepper = Stepper.of(own)
        assert stepper is not None
        with torch.inference_mode():
            found = stepper.step(copy.deepcopy(cache), slots[row : row + 1], ids[row : row + 1])
        assert torch.equal(found[0], together[row])


def alone_of(mixed: MixedLinear, number: int) -> LoraLinear | None:
    found = mixed.low_rank()
    first, last = (0, 0) if number < 0 else found.starts[number : number + 2]
    if first == last:
        return None
    assert isinstance(found.base, Linear)
    one = LoraLinear(found.base, last - first, 1.0)
    one.lora_a.data, one.lora_b.data = found.down[first:last], found.up[:, first:last]
    return one


@pytest.mark.parametrize("rows", [1, 7])
def test_bfloat16_is_no_worse_than_pytorchs(rows: int) -> None:
    exact = both(with_one(small("even", "fp32", rounded=True)), rows, kernel=False)
    half = with_one(small("even", "bf16", rounded=True))
    ours, theirs = (off(both(half, rows, kernel), exact) for kernel in (True, False))
    assert ours < 1.05 * theirs, (ours, theirs)


def refused() -> Sequence[Transformer]:
    dropping = with_one(small("even")).train()
    for module in dropping.modules():
        if isinstance(module, LoraLinear):
            module.dropout = 0.5
    wide = with_one(small("even"))
    wide.blocks[0].attn.v.lora_b.data = wide.blocks[0].attn.v.lora_b.data.double()
    return with_one(small("even"), DoraLinear), dropping, wide


def test_what_is_more_than_low_ranks_is_left_to_pytorch() -> None:
    dora, dropping, wide = refused()
    assert Stepper.of(dora) is Stepper.of(dropping) is Stepper.of(wide) is None
    assert any(isinstance(module, Adapted) for module in dora.modules())
