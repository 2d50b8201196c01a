"""A stack of transformer blocks between an embedding and a head; its parts decide what it is.

Knows nothing of rows, padding, masks or caches: tokens stand on one axis with their positions, and
an `Attend` object says which of them share a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tutelage.nn.attend import Attend, Bias
from tutelage.nn.attention import Heads, Pass
from tutelage.nn.embedding import Embed, Embedding, Tokens
from tutelage.nn.form import Form
from tutelage.nn.head import Head, scores
from tutelage.nn.linear import Linear
from tutelage.nn.pooler import Pooler
from tutelage.nn.quantized import Held
from tutelage.nn.rope import Rope
from tutelage.nn.task_head import TaskHead


class Transformer(nn.Module):
    """scores = head(norm(block_L(... block_1(embed(tokens))))).

    `compute` is the type activations have; weights may be kept in another (float32 masters).
    `norm` is None where the blocks end in one; `bias` adds to the scores of all layers; `head`
    None is a stack that gives vectors alone; `context` None has no limit of its own.
    `pooler` makes one vector of a row.
    """

    def __init__(
        self,
        embed: Embed,
        blocks: Sequence[nn.Module],
        norm: nn.Module | None,
        head: Head | None,
        context: int | None,
        rope: Rope | None = None,
        bias: Bias | None = None,
        pooler: Pooler | None = None,
    ) -> None:
        super().__init__()
        self.embed = embed
        self.blocks: Sequence[nn.Module] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.norm = norm
        self.head = head
        self.pooler = pooler
        self.rope = rope
        self.bias = bias
        self.context = context
        self.compute = torch.float32
        self.built_from = ""
        """Hash of the checkpoint's weights as they were loaded, before any tuning."""
        self.form: Form | None = None
        """In which few bits the linear maps of the blocks are held, if they are."""
        self.new_rows = False
        """Whether an adapter's rows of new tokens are put in their places."""
        self.task: TaskHead | None = None
        """The head of a task, in the place of the scores of tokens (`models/headed.py`)."""
        self.narrow_cache = False
        """Keep keys and values in 8 bits while generating."""
        self.checkpointing = False
        """Keep only each block's input and compute the rest again in the backward pass."""

    @property
    def device(self) -> torch.device:
        tokens = self.embed.tokens
        return tokens.scales.device if isinstance(tokens, Held) else tokens.weight.device

    @property
    def layers(self) -> int:
        return len(self.blocks)

    @property
    def heads(self) -> Heads:
        """Of every layer alike; none where layers keep no keys."""
        attn = getattr(self.blocks[0], "attn", None)
        return Heads(0, 0, 0) if attn is None else attn.heads

    def hidden(
        self,
        tokens: Tokens,
        attend: Attend,
        select: Int[Tensor, "M"] | None = None,
        memory: Float[Tensor, "S C"] | None = None,
    ) -> Float[Tensor, "N C"]:
        """Vectors before the final norm, of all tokens or of those selected.

        The last block's feed-forward network runs on selected tokens only: the others' results
        would be seen by nobody. `memory` is what cross-attention reads.
        """
        x = self.embed(tokens).to(self.compute)
        angles = None if self.rope is None else self.rope.angles(tokens.positions)
        at = Pass(0, attend, angles, self.bias, None, memory)
        last = len(self.blocks) - 1
        for layer, block in enumerate(self.blocks):
            at = replace(at, layer=layer, select=select if layer == last else None)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, at, use_reentrant=False)
            else:
                x = block(x, at)
        return x

    def vectors(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """After the final norm."""
        return hidden if self.norm is None else self.norm(hidden)

    def pooled(self, hidden: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
        """A vector of each row, from its first token's."""
        assert self.pooler is not None
        pooled: Tensor = self.pooler(self.vectors(hidden))
        return pooled

    def prepare(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        """What the head's matrix is multiplied with."""
        assert self.head is not None
        return self.head.prepare(self.vectors(hidden))

    @property
    def head_weight(self) -> Float[Tensor, "V C"]:
        """The matrix that turns vectors into scores; one in few bits is made wide."""
        held = self.head_map
        return held.matrix(self.compute) if isinstance(held, Held) else held.weight

    @property
    def head_map(self) -> Linear | Embedding | Held:
        """The module that holds it: the head's own linear map, or the token table."""
        assert self.head is not None
        return self.embed.tokens if self.head.linear is None else self.head.linear

    @property
    def head_bias(self) -> Float[Tensor, "V"] | None:
        assert self.head is not None
        return self.head.bias if self.head.linear is None else self.head.linear.bias

    def logits(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N V"]:
        """Scores of every token, in float32: of the next one where the model reads causally, of the
        one in this place where it does not."""
        x = self.prepare(hidden)
        held = self.head_map
        return scores(x, held if isinstance(held, Held) else held.weight, self.head_bias)
