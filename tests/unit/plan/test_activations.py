"""The list of saved tensors against what autograd really saves, to the byte."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.pack import Example, pack
from tutelage.models.catalogue import ARCHITECTURES, find_preset, layout, shape, spec_for
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.plan.activations import Batch, attention_workspace, saved_bytes, saved_tensors
from tutelage.plan.parameters import Dimensions, dimensions, linear_roles, size

TOKENS, ROW, LABELS = 96, 24, 30
PRESETS = sorted(
    name
    for architecture in ARCHITECTURES.names()
    for name, config in ARCHITECTURES.get(architecture).presets.items()
    if name.endswith("-tiny") and shape(config).plain
)
"""All tiny ones that are said to be counted: rotated and gated, fused and centred ..."""
SIZES = dimensions(layout(find_preset("llama-tiny")))
INDEX = 8
"""Bytes of one row number; token ids and the selection of labelled rows are saved too."""


def sizes_of(preset: str) -> Dimensions:
    return dimensions(layout(find_preset(preset)))


def everything(preset: str = "llama-tiny") -> tuple[str, ...]:
    return (*linear_roles(layout(find_preset(preset))), "embed", "norm", "head")


def build(dtype: torch.dtype, full: bool, preset: str = "llama-tiny") -> torch.nn.Module:
    config = find_preset(preset)
    spec = spec_for(config)
    model = spec.build(spec.read(config))
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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_layers_that_pass_gradients(dtype: torch.dtype, preset: str) -> None:
    measured = autograd_saves(build(dtype, False, preset))
    assert measured - INDEX * LABELS == saved_bytes(sizes_of(preset), batch(dtype), ())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_tuning(dtype: torch.dtype, preset: str) -> None:
    measured = autograd_saves(build(dtype, True, preset))
    sizes, copies = sizes_of(preset), 0
    if dtype != torch.float32:  # each use of a master saves the copy it was rounded to
        inside = [e for e in layout(find_preset(preset)) if e.layer is not None]
        kept = [e for e in inside if len(e.shape) == 2 or (sizes.centred and e.role == "norm")]
        copies = sum(dtype.itemsize * size(e) for e in kept)
    expected = saved_bytes(sizes, batch(dtype), everything(preset)) + copies
    ids = TOKENS + LABELS + (0 if sizes.rotated else TOKENS)  # a table's rows are saved by number
    assert measured - INDEX * ids == expected


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("full", [False, True])
def test_checkpointing_keeps_block_inputs_alone(full: bool, preset: str) -> None:
    model = build(torch.float32, full, preset)
    model.checkpointing = True
    measured, sizes = autograd_saves(model), sizes_of(preset)
    planned = saved_bytes(sizes, batch(torch.float32, checkpointing=True), everything(preset))
    one_layer = TOKENS * sum(
        t.numbers * t.bytes for t in saved_tensors(sizes, batch(torch.float32), everything(preset))
    )
    # The layer being computed again appears only during the backward pass. The angles are held by
    # what every block is handed, where autograd's hooks do not see them.
    angles = TOKENS * 2 * (sizes.query // 4) * 4 if sizes.rotated else 0
    ids = TOKENS * (1 if sizes.rotated else 2) if full else 0
    assert measured - INDEX * ids == planned - one_layer - angles


def test_a_frozen_weight_needs_no_input() -> None:
    def names(*roles: str) -> set[str]:
        beside = [(role, 8) for role in roles]
        return {t.name for t in saved_tensors(SIZES, batch(torch.float32), roles, beside)}

    frozen = names()
    assert names("attn.q") - frozen == {"normed block input", "beside attn.q"}
    assert names("mlp.up") - frozen == {"normed feed-forward input", "beside mlp.up"}
    assert names("mlp.down") - frozen == {"silu(gate) * up", "beside mlp.down"}


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
