"""Pairs and states that are counted without torch, against masks and caches that are built."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.checkpoints.build import build
from tutelage.checkpoints.preset import preset_checkpoint
from tutelage.data.pack import Example
from tutelage.generate.rows import Rows
from tutelage.models.catalogue import find_preset, layout, shape, spec_for
from tutelage.models.forward import Model
from tutelage.nn.attend import Rule, Sees, mask_of
from tutelage.nn.attention import Attention
from tutelage.nn.pairs import ClusterPairs, SegmentPairs
from tutelage.nn.patterns import Blocks, Strided, Window
from tutelage.pretrain.compute import flops_per_token, multiplied

WINDOWS = st.builds(Window, st.integers(1, 80))
STRIDES = st.builds(Strided, st.integers(1, 20))
BLOCKS = st.builds(
    Blocks, st.integers(1, 9), near=st.integers(0, 3), everywhere=st.integers(0, 3),
    random=st.integers(0, 3), seed=st.integers(0, 5),
)  # fmt: skip


def in_mask(sees: Sees | None, length: int) -> int:
    """Entries of the causal mask that are not hidden, each counted."""
    places = torch.arange(length)
    return int((mask_of(Rule(sees=sees), places[None], places, torch.float32) == 0).sum())


@given(st.one_of(WINDOWS, STRIDES, BLOCKS), st.integers(1, 70))
def test_pairs_are_those_of_the_mask(sees: Window | Strided | Blocks, length: int) -> None:
    assert sees.pairs(length) == in_mask(sees, length)


@given(st.integers(1, 12), st.integers(1, 70))
def test_segments_counted_one_token_after_the_other(segment: int, length: int) -> None:
    seen = [place - max(0, place // segment * segment - segment) + 1 for place in range(length)]
    assert SegmentPairs(segment, 8).pairs(length) == sum(seen)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(1, 70))
def test_clusters_whose_tokens_take_turns(
    buckets: int, most: int, rounds: int, length: int
) -> None:
    filled = [0] * buckets
    seen = 0
    for place in range(length):
        filled[place % buckets] += 1
        seen += min(filled[place % buckets], most)
    assert ClusterPairs(buckets, most, rounds, 8, 2).pairs(length) == rounds * seen


@pytest.mark.parametrize(
    "name",
    ["window-tiny", "strided-tiny", "blocks-tiny", "mistral-tiny", "llama-tiny", "smollm3-tiny"],
)
def test_a_shape_sees_what_its_built_layers_see(name: str) -> None:
    """Layer by layer; all the layers of SmolLM3's every second with a window."""
    config = dict(find_preset(name))
    if name == "smollm3-tiny":
        config |= {"use_sliding_window": True, "sliding_window": 9} | {
            "layer_types": ["sliding_attention", "full_attention"] * 2
        }
    spec = spec_for(config)
    built = spec.build(spec.read(config))
    rules = [part.rule for part in built.modules() if isinstance(part, Attention)]
    for length in (1, 40, 200):
        expected = sum(in_mask(rule.sees, length) for rule in rules)
        assert shape(config).pairs(length) == expected


@pytest.mark.parametrize(
    "name", ["linear-tiny", "transformer-xl-tiny", "reformer-tiny", "lstm-tiny"]
)
def test_a_state_has_the_bytes_that_are_counted(name: str) -> None:
    """Of the cache of one row that a prompt was read into."""
    config = find_preset(name)
    model: Model = build(preset_checkpoint(name, 0))
    rows = Rows.of(model, slots=1, room=64)
    with torch.inference_mode():
        rows.read([0], [Example.read(range(7))])
        rows.step([0], [1])
    held = sum(part.nbytes for state in rows.cache.states.values() for part in state)
    assert held == shape(config).state(4)


def test_a_width_of_heads_that_is_not_the_models() -> None:
    """Qwen3 0.6B: 16 heads of 128 in a model of 1,024. Scores and values are 2 H D each a key."""
    config = find_preset("qwen3-0.6b")
    weights, found = layout(config), shape(config)
    attention = flops_per_token(weights, found, 512) - 6 * multiplied(weights, found)
    assert attention == 3 * 28 * (512 // 2) * (2 * 16 * 128 + 2 * 16 * 128)
