"""Houlsby's adapters: behind attention and behind the feed-forward network of every layer.

    y + U gelu(D y + c) + e,      y what the last linear map of either gives

Trained parameters: 2 L (2 R d + R + d). Source: Houlsby et al. 2019, arXiv:1902.00751, section 2.1
and figure 2; the norms, which they train too, stay as they are.
"""

from __future__ import annotations

from tutelage.peft._bottleneck import Bottlenecks, Family, Place


class Settings(Bottlenecks):
    """None means a default, which `resolve` puts in."""

    roles: tuple[str, ...] | None = None
    """Linears whose output an adapter reads and adds to; attn.o and mlp.down."""


def _roles(settings: Settings) -> tuple[str, ...] | None:
    return settings.roles


METHOD = Family("HOULSBY", Settings, Place(("attn.o", "mlp.down"), "gelu"), roles=_roles).method(
    "adapter", learning_rate=1e-3
)
