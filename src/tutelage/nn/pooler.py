"""One vector for a whole row."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutelage.nn.linear import Linear


class Pooler(nn.Module):
    """y = tanh(W x + b) of the row's first token, and of y a score of each label, if there are any.

    Source: Devlin et al. 2019, arXiv:1810.04805, section 3: C, the vector of [CLS], by which BERT
    learned whether two sentences follow each other; the layer itself stands in their code.
    """

    def __init__(self, width: int, labels: int = 0) -> None:
        super().__init__()
        self.dense = Linear(width, width, "pooler", bias=True)
        self.labels = Linear(width, labels, "pooler.labels", bias=True) if labels else None

    def forward(self, x: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
        return torch.tanh(self.dense(x))

    def scores(self, pooled: Float[Tensor, "R C"]) -> Float[Tensor, "R labels"]:
        """Of each label, in float32."""
        assert self.labels is not None
        return self.labels(pooled).float()
