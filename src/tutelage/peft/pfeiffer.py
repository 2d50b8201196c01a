"""Pfeiffer's adapters: behind the feed-forward network of every layer alone.

    y + U relu(D y + c) + e,      y what the network's last linear map gives

Trained parameters: L (2 R d + R + d), half of Houlsby's.
Source: Pfeiffer et al. 2021, arXiv:2005.00247, section 3.1 and appendix A.
"""

from __future__ import annotations

from tutelage.peft._bottleneck import Bottlenecks, Family, Place


class Settings(Bottlenecks):
    """Those of all adapters."""


METHOD = Family("PFEIFFER", Settings, Place(("mlp.down",), "relu")).method(
    "pfeiffer", learning_rate=1e-3
)
