"""The list of saved tensors against what autograd really saves, to the byte."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.pack import Example, pack
from tutelage.models.spec import find_preset, layout, spec_for
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.plan.activations import Batch, attention_workspace, saved_bytes, saved_tensors
from tutelage.plan.parameters import LINEAR_ROLES, dimensions, size

TOKENS, ROW, LABELS = 96, 24, 30
CONFIG = dict(find_preset("llama-tiny"))
SIZES = dimensions(layout(CONFIG))
EVERYTHING = (*LINEAR_ROLES, "embed", "norm", "head")
INDEX = 8
"""Bytes of one row number; token ids and the selection of labelled rows are saved too."""


def build(dtype: torch.dtype, full: bool) -> torch.nn.Module:
    spec = spec_for(CONFIG)
    model = spec.build(spec.read(CONFIG))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.compute = dtype
    if full:
        return model
    model.to(dtype).requires_grad_(False)
    # Something trained below makes every layer pass gradients, as an adapter there would.
    model.embed.register_forward_hook(lambda _m, _i, out: out.requires_grad_(True))
    return model


def autograd_saves(model: torch.nn.Module) -> int:
    """Bytes of storage, each counted once, that a forward pass leaves for the backward pass."""
    rows = [Example.answer(tuple(range(ROW)), (0,)) for _ in range(TOKENS // ROW)]
    attend = PackedAttention(Layout.of(pack(rows, share=False)))
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(saved: torch.Tensor) -> torch.Tensor:
        place = saved.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = saved
        return saved

    positions = torch.arange(ROW).repeat(TOKENS // ROW)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        tokens = Tokens(torch.randint(0, 200, (TOKENS,)), positions)
        model.hidden(tokens, attend, torch.arange(LABELS))
    return sum(saved.untyped_storage().nbytes() for saved in kept.values())


def batch(dtype: torch.dtype, **more: bool) -> Batch:
    return Batch(TOKENS, LABELS, ROW, heads=4, compute_bytes=dtype.itemsize, **more)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_layers_that_pass_gradients(dtype: torch.dtype) -> None:
    measured = autograd_saves(build(dtype, full=False))
    assert measured - INDEX * LABELS == saved_bytes(SIZES, batch(dtype), (), rank=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_tuning(dtype: torch.dtype) -> None:
    measured = autograd_saves(build(dtype, full=True))
    copies = 0
    if dtype != torch.float32:  # each use of a master saves the copy it was rounded to
        inside = [e for e in layout(CONFIG) if e.layer is not None and len(e.shape) == 2]
        copies = sum(dtype.itemsize * size(e) for e in inside)
    expected = saved_bytes(SIZES, batch(dtype), EVERYTHING) + copies
    assert measured - INDEX * (TOKENS + LABELS) == expected


@pytest.mark.parametrize("full", [False, True])
def test_checkpointing_keeps_block_inputs_alone(full: bool) -> None:
    model = build(torch.float32, full)
    model.checkpointing = True
    measured = autograd_saves(model)
    planned = saved_bytes(SIZES, batch(torch.float32, checkpointing=True), EVERYTHING)
    one_layer = TOKENS * sum(
        t.numbers * t.bytes for t in saved_tensors(SIZES, batch(torch.float32), EVERYTHING)
    )
    # The layer being computed again appears only during the backward pass. The angles are held by
    # what every block is handed, where autograd's hooks do not see them.
    angles = TOKENS * 2 * (SIZES.query // 4) * 4
    assert measured - INDEX * TOKENS * full == planned - one_layer - angles


def test_a_frozen_weight_needs_no_input() -> None:
    def names(*roles: str) -> set[str]:
        return {t.name for t in saved_tensors(SIZES, batch(torch.float32), roles, rank=8)}

    frozen = names()
    assert names("attn.q") - frozen == {"normed block input", "A x of attn.q"}
    assert names("mlp.up") - frozen == {"normed feed-forward input", "A x of mlp.up"}
    assert names("mlp.down") - frozen == {"silu(gate) * up", "A x of mlp.down"}


def test_attention_workspace_is_linear_in_the_row_and_in_the_batch() -> None:
    def bytes_of(tokens: int, row: int, threads: int = 2) -> int:
        return attention_workspace(SIZES, Batch(tokens, 1, row, heads=4, threads=threads))

    gradients = 1024 * (SIZES.query + 2 * SIZES.key) * 2
    assert bytes_of(1024, 128, threads=0) == gradients
    assert bytes_of(2048, 128) - bytes_of(1024, 128) == gradients
    room = bytes_of(1024, 128) - gradients
    assert bytes_of(1024, 256) - gradients == 2 * room
    assert bytes_of(1024, 128, threads=4) - gradients == 2 * room
    assert room == 2 * 128 * 4 * (6 * SIZES.query // 4 + 96)
