"""Frozen linear maps and tables with a low-rank update beside them.

    y = W x + s B A x                      a linear map, A [R, in] and B [out, R]
    y[r_i] = W[r_i] x + s B_i A_i x        parts of a fused projection, each rows r_i of its own
    e = E[t] + s B A[:, t]                 a table, A [R, V] and B [C, R]
    z = (W + s B A) x                      scores of tokens, A [R, C] and B [V, R]

What a fused projection's parts do is one update of the whole with zeros in B where no part is, and
so it is stored: any reader of LoRA reads it.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tutelage.nn.embedding import Embedding
from tutelage.nn.linear import Linear
from tutelage.nn.low_rank import LowRank, the_first
from tutelage.nn.product import product
from tutelage.nn.quantized import AnyLinear, QuantizedLinear
from tutelage.peft._wrapped import Folding, Wrapped, trainable


class LoraLinear(Wrapped):
    """A frozen Linear with its low-rank update times `scale`; of K `parts` alone, the rows [K W] of
    a fused projection, if there are any."""

    base: AnyLinear

    def __init__(
        self, base: AnyLinear, rank: int, scale: float, dropout: float = 0.0,
        parts: Int[Tensor, "K W"] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(base)
        rows, columns = base.shape
        self.scale = scale
        self.dropout = dropout
        self.parts = None if parts is None else nn.Buffer(parts, persistent=False)
        count, width = (1, rows) if parts is None else parts.shape
        like = base.weight if isinstance(base, Linear) else base.scales
        self.lora_a = trainable(count * rank, columns, like=like)
        self.lora_b = trainable(count * width, rank, like=like)

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        y = self.product(x)
        return y if self.base.bias is None else y + self.base.bias.to(x.dtype)

    def product(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """W x + s B A x"""
        a, b = self.lora_a.to(x.dtype), (self.up() * self.scale).to(x.dtype)
        learned = isinstance(self.base, Linear) and self.base.weight.requires_grad
        if learned or (self.training and self.dropout):
            low = nn.functional.linear(nn.functional.dropout(x, self.dropout, self.training), a)
            return self.base.product(x) + nn.functional.linear(low, b)
        flat: Tensor = _Adapted.apply(x.reshape(-1, x.shape[-1]), self.base, a, b)
        return flat.view(*x.shape[:-1], -1)

    def up(self) -> Float[Tensor, "O R"]:
        """B, with zeros where no part is; its columns are the parts', one after the other."""
        if self.parts is None:
            return self.lora_b
        count, width = self.parts.shape
        which = torch.arange(count, device=self.parts.device).repeat_interleave(width)
        wide = self.lora_b.new_zeros(self.base.shape[0], count, self.lora_b.shape[1])
        return wide.index_put((self.parts.flatten(), which), self.lora_b).flatten(1)

    def update(self) -> Float[Tensor, "O I"]:
        """s B A in float32."""
        return self.scale * (self.up().float() @ self.lora_a.float())

    def low_rank(self) -> LowRank | None:
        """Itself; None for a subclass, which may compute anything, and while inputs drop out."""
        if type(self) is not LoraLinear or (self.training and self.dropout):
            return None
        with torch.no_grad():
            down, up = self.lora_a.detach(), self.up() * self.scale
        return LowRank(self.base, down, up, (0, len(down)), the_first)

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.base.matrix(torch.float32) + self.update(), None


class LoraScores(LoraLinear):
    """A frozen matrix of scores, read as the one matrix that it is with its update: the loss takes
    it chunk by chunk."""

    @property
    def weight(self) -> Float[Tensor, "V C"]:
        """Summed in float32 in one place, and rounded to the type computed in."""
        below = self._below()
        whole = torch.empty_like(below, dtype=torch.float32).copy_(below)
        whole = whole.addmm_(self.lora_b.float(), self.lora_a.float(), alpha=self.scale)
        return whole.to(below.dtype)

    def _below(self) -> Float[Tensor, "V C"]:
        """The matrix itself, with rows of new tokens in it that are learned beside the update."""
        if isinstance(self.base, QuantizedLinear):
            return self.base.matrix(self.lora_a.dtype)
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias


class LoraEmbedding(Folding):
    """A frozen token table with its low-rank update times `scale`. A head that is tied to the table
    stays as it was, and the update is then never merged."""

    base: Embedding

    def __init__(self, base: Embedding, rank: int, scale: float, tied: bool = False) -> None:
        super().__init__(base)
        vocabulary, width = base.weight.shape
        self.scale, self.shared = scale, tied
        self.lora_embedding_a = trainable(rank, vocabulary, like=base.weight)
        self.lora_embedding_b = trainable(width, rank, like=base.weight)

    @property
    def weight(self) -> Tensor:
        """The table itself, which a tied head reads."""
        return self.base.weight

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        found: Tensor = self.base(ids)
        low = nn.functional.embedding(ids, self.lora_embedding_a.t())
        return found + (self.scale * low @ self.lora_embedding_b.t()).to(found.dtype)

    def update(self) -> Float[Tensor, "V C"]:
        """s (B A)' in float32."""
        wide = self.lora_embedding_b.float() @ self.lora_embedding_a.float()
        return self.scale * wide.t()

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.base.weight.float() + self.update(), None


class _Adapted(torch.autograd.Function):
    """W x + B A x with W frozen, made again in the backward pass. Adding the narrow products in
    place spares a pass over y, and over the gradient of x, for each, which takes longer than the
    products themselves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: AnyLinear, a: Tensor, b: Tensor) -> Tensor:
        low = product(x, a.t())
        ctx.base = base
        ctx.save_for_backward(x, a, b, low)
        return product(x, base.matrix(x.dtype).t(), (low, b.t()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, low = ctx.saved_tensors
        dlow = product(dy, b)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = product(dy, ctx.base.matrix(dy.dtype), (dlow, a))
        return dx, None, dlow.t() @ x, (low.t() @ dy).t()
