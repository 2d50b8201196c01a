"""Shapes by one number build what they say, and the work of a token is counted from them."""

from __future__ import annotations

import pytest

from tutelage.errors import ConfigError
from tutelage.models.catalogue import layout, shape
from tutelage.pretrain.compute import flops_per_token, multiplied
from tutelage.pretrain.size import BY_DEPTH, preset, sized


@pytest.mark.parametrize("architecture", BY_DEPTH)
@pytest.mark.parametrize("depth", [1, 6, 12])
def test_a_shape_by_depth(architecture: str, depth: int) -> None:
    config = sized(depth, architecture, vocabulary=1000, context=128)
    found = shape(config)
    assert (found.layers, found.width, found.head_width) == (depth, 64 * depth, 64)
    assert (found.vocabulary, found.context) == (1000, 128 if architecture != "t5" else None)
    assert found.encoder_layers == (depth if architecture == "t5" else 0)
    wide = shape(sized(depth, architecture, vocabulary=1000, context=128, width=192))
    assert (wide.layers, wide.width, wide.heads) == (depth, 192, 3)


def test_a_width_that_is_not_made_of_heads_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        sized(2, "llama", vocabulary=1000, context=128, width=100)
    assert caught.value.field == "model.width"


def test_work_of_gpt2_in_numbers() -> None:
    """85 million weights in the blocks, 38.6 million in the head; attention 6 L T C."""
    config = preset("gpt2", vocabulary=50257, context=None)
    weights, found = layout(config), shape(config)
    inside = 12 * 12 * 768**2
    assert multiplied(weights, found) == inside + 50257 * 768
    assert flops_per_token(weights, found, 1024) == 6 * (inside + 50257 * 768) + 6 * 12 * 1024 * 768
