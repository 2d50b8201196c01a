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
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.generate.step import Stepper
from tutelage.kernels.library import library
from tutelage.models.transformer import Transformer
from tutelage.nn.cache import STEP, Cache
from tutelage.nn.embedding import Tokens
from tutelage.nn.form import Form
from tutelage.nn.norm import RMSNorm
from tutelage.nn.quantized import Held, QuantizedEmbedding, QuantizedLinear, quantize
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


def crowded(
    model: Transformer, rows: int, paged: bool = False
) -> tuple[Cache, torch.Tensor, torch.Tensor]:
    """A cache full of random numbers that either type holds, every second of its slots, and a token
    for each slot; in `paged` ones rows of up to three blocks share their first."""
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
    ids = torch.randint(0, 90, (2 * rows,), generator=drawn)
    slots = torch.arange(0, 2 * rows, 2)
    return cache, slots, ids


def step(model: Transformer, cache: Cache, slots: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    stepper = Stepper.of(model)
    assert stepper is not None
    with torch.inference_mode():
        return stepper.step(cache, slots, ids[: len(slots)])


def stepped(model: Transformer, rows: int, paged: bool, kernel: bool) -> torch.Tensor:
    """Logits after a token in every second slot."""
    cache, slots, ids = crowded(model, rows, paged)
    if kernel:
        return step(model, cache, slots, ids[slots])
    with torch.inference_mode():
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


FORMS = {"8": Form(8), "4": Form(4), "minimums": Form(4, minimum=True)}


def in_few_bits(checkpoint: Checkpoint, form: Form, dtype: str) -> Transformer:
    """With its table too, which its head is made of. The codes of either type are the same where
    the weights they are made of are numbers of both."""
    model = build(checkpoint, dtype, form=form)
    assert isinstance(model, Transformer)
    codes = quantize(model.embed.tokens.weight.data, form)
    model.embed.tokens = QuantizedEmbedding(codes, "embed", model.compute)  # type: ignore[assignment]
    return model


def narrowed(x: torch.Tensor) -> torch.Tensor:
    """Each 32 numbers of a vector as whole numbers of -127 .. 127 times what they share."""
    count = x.shape[-1]
    groups = torch.nn.functional.pad(x, (0, -count % 32)).unflatten(-1, (-1, 32))
    scale = groups.abs().amax(-1, keepdim=True) / 127
    numbers = (groups / torch.where(scale == 0, 1.0, scale)).round()
    return (numbers * scale).flatten(-2)[..., :count]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [32, 40, 64, 160, 288])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6])
def test_a_few_rows_are_multiplied_in_whole_numbers(rows: int, width: int, form: str) -> None:
    """Blocks that add nothing leave the head: codes times the narrowed norm of a token's vector."""
    theirs = their_llama(3, hidden_size=width, tie_word_embeddings=False, vocab_size=99)
    model = build(checkpoint_of(theirs), "bf16", form=FORMS[form])
    model.norm.weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(rows))
    head = QuantizedLinear.of(model.head.linear, model.head.linear.weight, FORMS[form])
    model.head.linear = head
    for block in model.blocks:
        for linear in (block.attn.o, block.mlp.down):
            linear.scales.zero_()
            if linear.minimums is not None:
                linear.minimums.zero_()
    cache, slots, ids = crowded(model, rows)
    vectors = model.embed.tokens(ids[:rows]).float()
    vectors *= (vectors.square().mean(-1, keepdim=True) + model.norm.eps).rsqrt()
    expected = narrowed(vectors * model.norm.weight) @ head.matrix(torch.float32).T
    assert torch.allclose(step(model, cache, slots, ids), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_in_few_bits_is_off_by_what_its_vectors_lose(
    shape: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against float32 of the same codes: not more than narrowing vectors and bfloat16 each do."""
    checkpoint = checkpoint_of(their_llama(3, **SHAPES[shape]).bfloat16().float())
    half, full = (in_few_bits(checkpoint, FORMS[form], dtype) for dtype in ("bf16", "fp32"))
    ours = rounded = narrow = 0.0
    for rows in (3, 4, 5, 6, 64):
        exact = stepped(full, rows, True, kernel=False)
        ours += off(stepped(half, rows, True, kernel=True), exact)
        rounded += off(stepped(half, rows, True, kernel=False), exact)
        with monkeypatch.context() as patch:
            patch.setattr(Held, "product", lambda held, x: narrowed(x) @ held.matrix(x.dtype).T)
            narrow += off(stepped(full, rows, True, kernel=False), exact)
    assert ours < 1.2 * (rounded + narrow)


def off(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.float() - exact).square().mean())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_has_the_same_bits_whatever_shares_the_step(shape: str, form: str) -> None:
    checkpoint = checkpoint_of(their_llama(3, **SHAPES[shape]))
    for model in (in_few_bits(checkpoint, FORMS[form], "bf16"), build(checkpoint, "bf16")):
        cache, slots, ids = crowded(model, 6)
        together = step(model, copy.deepcopy(cache), slots, ids)
        for row in range(6):
            alone = step(model, copy.deepcopy(cache), slots[row : row + 1], ids[row : row + 1])
            assert torch.equal(alone[0], together[row])


def test_few_bits_computed_in_float32_are_left_to_pytorch() -> None:
    assert Stepper.of(in_few_bits(checkpoint_of(their_llama(3)), Form(4), "fp32")) is None


def test_groups_of_another_length_are_left_to_pytorch() -> None:
    assert Stepper.of(in_few_bits(checkpoint_of(their_llama(3)), Form(4, group=16), "bf16")) is None
