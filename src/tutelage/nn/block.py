"""The pre-norm transformer block, cut where attention happens.

    q, k, v = before(x)              per token: norm, projections, rotation
    y       = attend(q, k, v)        between tokens: the Attend object's business
    x       = after(x, y)            per token: output projection, feed-forward

The cut is what lets one block serve training on packed rows, prefill and decoding: the
token-wise halves know nothing of rows, masks or caches.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.linear import Linear
from tutelage.nn.mlp import GatedMLP
from tutelage.nn.norm import RMSNorm
from tutelage.nn.rope import rotate


@dataclass(frozen=True)
class Heads:
    """H query heads share K key-value heads, H / K each; every head is D wide."""

    query: int
    key_value: int
    width: int


class Attention(nn.Module):
    """The four projections of self-attention with grouped heads.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; grouped heads: Ainslie et al.
    2023, arXiv:2305.13245.
    """

    def __init__(self, width: int, heads: Heads, bias: bool = False, bias_out: bool = False):
        super().__init__()
        self.heads = heads
        self.q = Linear(width, heads.query * heads.width, "attn.q", bias)
        self.k = Linear(width, heads.key_value * heads.width, "attn.k", bias)
        self.v = Linear(width, heads.key_value * heads.width, "attn.v", bias)
        self.o = Linear(heads.query * heads.width, width, "attn.o", bias_out)


class Block(nn.Module):
    """x + o(attend(...norm(x)...)), then x + mlp(norm(x)): pre-norm with RMSNorm."""

    def __init__(self, attn: Attention, mlp: GatedMLP, norm_attn: RMSNorm, norm_mlp: RMSNorm):
        super().__init__()
        self.norm_attn = norm_attn
        self.attn = attn
        self.norm_mlp = norm_mlp
        self.mlp = mlp

    def before(
        self, x: Float[Tensor, "N C"], cosine: Tensor, sine: Tensor
    ) -> tuple[Float[Tensor, "N H D"], Float[Tensor, "N K D"], Float[Tensor, "N K D"]]:
        """Queries, keys (both rotated) and values of each token."""
        tokens, width = x.shape[0], self.attn.heads.width
        normed = self.norm_attn(x)
        q = self.attn.q(normed).view(tokens, self.attn.heads.query, width)
        k = self.attn.k(normed).view(tokens, self.attn.heads.key_value, width)
        v = self.attn.v(normed).view(tokens, self.attn.heads.key_value, width)
        return rotate(q, cosine, sine), rotate(k, cosine, sine), v

    def after(
        self, x: Float[Tensor, "N C"], attended: Float[Tensor, "N H D"]
    ) -> Float[Tensor, "N C"]:
        """Add what attention brought, then what the feed-forward network makes of it."""
        x = x + self.attn.o(attended.reshape(x.shape[0], -1))
        return x + self.mlp(self.norm_mlp(x))
