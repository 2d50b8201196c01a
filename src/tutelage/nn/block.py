"""Transformer blocks: in which order norm, attention and feed-forward network stand.

    PreNorm     x + f(norm(x))             GPT-2, LLaMA, T5
    PostNorm    norm(x + f(x))             the Transformer of 2017, BERT, BART
    Parallel    x + f(norm(x)) + g(norm(x))    PaLM

A block knows nothing of rows, masks or caches: tokens stand on one axis, and the Pass it is handed
mixes them. That lets one block serve training on packed rows, reading prompts and decoding.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.attention import Attention, CrossAttention, Pass
from tutelage.nn.moe import CrowdedExperts


class PreNorm(nn.Module):
    """Each part reads a normalized copy and adds to the stream.

    Source: Xiong et al. 2020, arXiv:2002.04745, figure 1b."""

    def __init__(
        self, attn: Attention, mlp: nn.Module, norm_attn: nn.Module, norm_mlp: nn.Module,
        cross: CrossAttention | None = None, norm_cross: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm_attn = norm_attn
        self.attn = attn
        self.norm_cross = norm_cross
        self.cross = cross
        self.norm_mlp = norm_mlp
        self.mlp = mlp

    def forward(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M C"]:
        x = self.mixed(x, at)
        return x + self.mlp(self.norm_mlp(x))

    def mixed(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M C"]:
        """After all attention, of the selected tokens."""
        y = self.attn.mix(self.norm_attn(x), at)
        if self.cross is not None and self.norm_cross is not None:
            x = x + self.attn.o(y)
            y = self.cross.mix(self.norm_cross(x), at)
        x, y = at.narrow(x, y)
        return x + (self.attn.o(y) if self.cross is None else self.cross.o(y))


class CrowdedPreNorm(PreNorm):
    """PreNorm with experts that have room for some of a row's tokens. Those whose results nobody
    wants take room too, so the selected ones are taken last."""

    mlp: CrowdedExperts
    scans = True

    def forward(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M C"]:
        x = self.mixed(x, replace(at, select=None))
        return at.narrow(x + self.mlp.crowded(self.norm_mlp(x), at))[0]


class PostNorm(nn.Module):
    """Each part adds to the stream, which is normalized afterwards.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.1."""

    def __init__(
        self, attn: Attention, mlp: nn.Module, norm_attn: nn.Module, norm_mlp: nn.Module,
        cross: CrossAttention | None = None, norm_cross: nn.Module | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.attn = attn
        self.norm_attn = norm_attn
        self.cross = cross
        self.norm_cross = norm_cross
        self.mlp = mlp
        self.norm_mlp = norm_mlp

    def forward(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M C"]:
        y = self.attn.mix(x, at)
        if self.cross is not None and self.norm_cross is not None:
            x = self.norm_attn(x + self.attn.o(y))
            y = self.cross.mix(x, at)
            x, y = at.narrow(x, y)
            x = self.norm_cross(x + self.cross.o(y))
        else:
            x, y = at.narrow(x, y)
            x = self.norm_attn(x + self.attn.o(y))
        return self.norm_mlp(x + self.mlp(x))


class Parallel(nn.Module):
    """Attention and feed-forward network read the same normalized vectors.

    Source: Chowdhery et al. 2022, arXiv:2204.02311, section 2 (parallel layers)."""

    def __init__(self, attn: Attention, mlp: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.attn = attn
        self.mlp = mlp

    def forward(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M C"]:
        normed = self.norm(x)
        y = self.attn.mix(normed, at)
        x, y, normed = at.narrow(x, y, normed)
        return x + self.attn.o(y) + self.mlp(normed)
