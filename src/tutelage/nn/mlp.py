"""Feed-forward networks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from tutelage.kernels import tokenwise as kernel
from tutelage.kernels.library import computes
from tutelage.nn.linear import Linear


class GatedMLP(nn.Module):
    """y = W_down (silu(W_gate x) * W_up x), the SwiGLU network.

    Source: Shazeer 2020, arXiv:2002.05202, eq. 6 (FFN_SwiGLU, no biases there).
    """

    def __init__(self, width: int, hidden: int, bias: bool = False) -> None:
        super().__init__()
        self.gate = Linear(width, hidden, "mlp.gate", bias)
        self.up = Linear(width, hidden, "mlp.up", bias)
        self.down = Linear(hidden, width, "mlp.down", bias)

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return self.down(gated(self.gate(x), self.up(x)))


def gated(gate: Float[Tensor, "... F"], up: Float[Tensor, "... F"]) -> Float[Tensor, "... F"]:
    """silu(gate) * up"""
    if computes(gate):
        return kernel.gated(gate, up)
    return nn.functional.silu(gate) * up
