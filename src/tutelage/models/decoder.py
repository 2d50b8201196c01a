"""A causal language model put together from blocks; which architecture it is, its parts decide.

Knows nothing of rows, padding, masks or caches: tokens stand on one axis with their positions, and
an `Attend` object says which of them see each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tutelage.nn.attend import Attend
from tutelage.nn.block import Block
from tutelage.nn.embedding import Embedding
from tutelage.nn.linear import Linear
from tutelage.nn.norm import RMSNorm
from tutelage.nn.rope import Rope


class Decoder(nn.Module):
    """logits = head(norm(block_L(... block_1(embed(ids))))).

    `compute` is the type activations have; weights may be kept in another (float32 masters).
    `head` None ties the head to the token table.
    """

    def __init__(
        self,
        embed: Embedding,
        blocks: Sequence[Block],
        norm: RMSNorm,
        head: Linear | None,
        rope: Rope,
        context: int,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.blocks: Sequence[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.norm = norm
        self.head = head
        self.rope = rope
        self.context = context
        self.compute = torch.float32
        self.built_from = ""
        """Hash of the checkpoint's weights as they were loaded, before any tuning."""
        self.checkpointing = False
        """Keep only each block's input and compute the rest again in the backward pass."""

    def hidden(
        self,
        ids: Int[Tensor, "N"],
        positions: Int[Tensor, "N"],
        attend: Attend,
        select: Int[Tensor, "M"] | None = None,
    ) -> Float[Tensor, "N C"]:
        """Vectors before the final norm, of all tokens or of those selected.

        The last block's feed-forward network runs on selected tokens only: the others' results
        would be seen by nobody.
        """
        x = self.embed(ids).to(self.compute)
        cosine, sine = self.rope.angles(positions)
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            narrow = select if layer == last else None
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(
                    self._block, layer, block, x, cosine, sine, attend, narrow, use_reentrant=False
                )
            else:
                x = self._block(layer, block, x, cosine, sine, attend, narrow)
        return x

    def _block(
        self,
        layer: int,
        block: Block,
        x: Tensor,
        cosine: Tensor,
        sine: Tensor,
        attend: Attend,
        select: Tensor | None,
    ) -> Tensor:
        y = attend(layer, *block.before(x, cosine, sine))
        if select is not None:
            x, y = x.index_select(0, select), y.index_select(0, select)
        return block.after(x, y)

    @property
    def head_weight(self) -> Float[Tensor, "V C"]:
        """The matrix that turns vectors into logits."""
        return self.embed.weight if self.head is None else self.head.weight

    def logits(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N V"]:
        """Scores of every token as the next one, in float32."""
        x = self.norm(hidden)
        return nn.functional.linear(x, self.head_weight.to(x.dtype)).float()
