"""Parallel adapters: beside the feed-forward network of every layer, whose input they read.

    network(x) + s (U relu(D x + c) + e)

Trained parameters: L (2 R d + R + d). Source: He et al. 2022, arXiv:2110.04366, table 1 (scaled
parallel adapter), with their s = 4.
"""

from __future__ import annotations

from tutelage.peft._bottleneck import Bottlenecks, Family, Place


class Settings(Bottlenecks):
    """None means a default, which `resolve` puts in."""

    scale: float = 4.0
    """s"""


def _scale(settings: Settings) -> float:
    return settings.scale


METHOD = Family(
    "PARALLEL", Settings, Place(("mlp.down",), "relu", around=True), scale=_scale
).method("parallel", learning_rate=1e-3)
