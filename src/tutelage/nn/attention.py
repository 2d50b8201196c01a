"""The projections around attention: what is asked, what is answered, and how heads share them.

    y = attend(q, k, v),  q = W_q x,  k = W_k x,  v = W_v x;      out = W_o y

Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; grouped heads: Ainslie et al. 2023,
arXiv:2305.13245. The mixing between tokens is the Attend object's business (`nn/attend.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.nn.attend import Attend, Bias, Rule
from tutelage.nn.linear import Linear
from tutelage.nn.rope import rotate

Order = Literal["thirds", "heads"]


@dataclass(frozen=True)
class Heads:
    """H query heads share K key-value heads, H / K each; every head is D wide."""

    query: int
    key_value: int
    width: int


@dataclass(frozen=True)
class Pass:
    """One forward pass as the block of `layer` sees it.

    `angles` are the rotation's cosine and sine, `bias` what all layers add to their scores,
    `select` the tokens whose results the last block needs, `memory` the vectors that
    cross-attention reads.
    """

    layer: int
    attend: Attend
    angles: tuple[Float[Tensor, "N 1 D"], Float[Tensor, "N 1 D"]] | None = None
    bias: Bias | None = None
    select: Int[Tensor, "M"] | None = None
    memory: Float[Tensor, "S C"] | None = None

    def narrow(self, *vectors: Tensor) -> tuple[Tensor, ...]:
        """Of each, the selected tokens: after the last mixing nobody would see the others."""
        if self.select is None:
            return vectors
        return tuple(x.index_select(0, self.select) for x in vectors)


class Attention(nn.Module):
    """Self-attention. `norms` (of queries, of keys) act on each head before the rotation, which a
    layer that is to know no positions leaves out."""

    def __init__(
        self, width: int, heads: Heads, rule: Rule | None = None, *, bias: bool = False,
        bias_out: bool = False, norms: tuple[nn.Module, nn.Module] | None = None,
        rotates: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads = heads
        self.rule = rule or Rule()
        self.rotates = rotates
        self._project(width, bias)
        self.q_norm = norms[0] if norms else None
        self.k_norm = norms[1] if norms else None
        self.o = Linear(heads.query * heads.width, width, "attn.o", bias_out)

    def _project(self, width: int, bias: bool) -> None:
        heads = self.heads
        self.q = Linear(width, heads.query * heads.width, "attn.q", bias)
        self.k = Linear(width, heads.key_value * heads.width, "attn.k", bias)
        self.v = Linear(width, heads.key_value * heads.width, "attn.v", bias)

    def project(self, x: Float[Tensor, "N C"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [N H D], keys and values [N K D]."""
        tokens, heads = x.shape[0], self.heads
        q = self.q(x).view(tokens, heads.query, heads.width)
        k = self.k(x).view(tokens, heads.key_value, heads.width)
        v = self.v(x).view(tokens, heads.key_value, heads.width)
        return q, k, v

    def mix(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N HD"]:
        """What attention brings to each token, before the projection `o`."""
        q, k, v = self.project(x)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if at.angles is not None and self.rotates:
            q, k = rotate(q, *at.angles), rotate(k, *at.angles)
        rule = self.rule if at.bias is None else replace(self.rule, bias=at.bias)
        return at.attend(at.layer, q, k, v, rule).reshape(x.shape[0], -1)


class FusedAttention(Attention):
    """Self-attention with one projection for queries, keys and values together, H = K.

    Their rows stand one kind after the other ("thirds", GPT-2), or head by head with a head's
    queries, keys and values together ("heads", BLOOM).
    """

    def __init__(
        self, width: int, heads: Heads, rule: Rule | None = None, *, order: Order = "thirds",
        bias: bool = True, bias_out: bool = True,
    ) -> None:  # fmt: skip
        assert heads.query == heads.key_value
        super().__init__(width, heads, rule, bias=bias, bias_out=bias_out)
        self.order = order

    def _project(self, width: int, bias: bool) -> None:
        self.qkv = Linear(width, 3 * self.heads.query * self.heads.width, "attn.qkv", bias)

    def project(self, x: Float[Tensor, "N C"]) -> tuple[Tensor, Tensor, Tensor]:
        tokens, heads = x.shape[0], self.heads
        if self.order == "thirds":
            q, k, v = self.qkv(x).view(tokens, 3, heads.query, heads.width).unbind(1)
        else:
            q, k, v = self.qkv(x).view(tokens, heads.query, 3, heads.width).unbind(2)
        return q, k, v

    def rows(self) -> Int[Tensor, "3 HD"]:
        """Which outputs of the projection are queries, keys and values."""
        width = self.heads.query * self.heads.width
        rows = torch.arange(3 * width, device=self.qkv.weight.device)
        if self.order == "thirds":
            return rows.view(3, width)
        return rows.view(self.heads.query, 3, -1).transpose(0, 1).reshape(3, width)


class CrossAttention(nn.Module):
    """Attention of a decoder's tokens to an encoder's."""

    def __init__(
        self, width: int, heads: Heads, rule: Rule | None = None, *, bias: bool = False,
        bias_out: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads = heads
        self.rule = rule or Rule(causal=False)
        self.q = Linear(width, heads.query * heads.width, "cross.q", bias)
        self.k = Linear(width, heads.key_value * heads.width, "cross.k", bias)
        self.v = Linear(width, heads.key_value * heads.width, "cross.v", bias)
        self.o = Linear(heads.query * heads.width, width, "cross.o", bias_out)

    def mix(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N HD"]:
        q = self.q(x).view(x.shape[0], self.heads.query, self.heads.width)
        return at.attend.cross(at.layer, q, lambda: self._keys(at.memory), self.rule).reshape(
            x.shape[0], -1
        )

    def _keys(self, memory: Float[Tensor, "S C"] | None) -> tuple[Tensor, Tensor]:
        assert memory is not None, "cross-attention needs an encoder's vectors"
        shape = (memory.shape[0], self.heads.key_value, self.heads.width)
        return self.k(memory).view(shape), self.v(memory).view(shape)
