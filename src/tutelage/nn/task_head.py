"""From vectors to the scores of a task: labels of a text or of its words, the ends of a span."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.linear import Linear


class TaskHead(nn.Module):
    """z = W x + b, or z = W tanh(D x + d) + b, in float32.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 4; with the layer D as in RoBERTa's and
    BART's own code. They drop some of x in training; nothing is dropped here.
    """

    def __init__(self, width: int, outputs: int, bias: bool, dense: bool) -> None:
        super().__init__()
        self.dense = Linear(width, width, "task", bias=True) if dense else None
        self.out = Linear(width, outputs, "task", bias=bias)

    def forward(self, x: Float[Tensor, "M C"]) -> Float[Tensor, "M K"]:
        x = x.float()
        return self.out(x if self.dense is None else torch.tanh(self.dense(x)))
