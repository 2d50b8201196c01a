"""Feed-forward networks."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from tutelage.kernels import tokenwise as kernel
from tutelage.kernels.library import computes
from tutelage.nn.activation import ACTIVATIONS
from tutelage.nn.linear import Linear


class MLP(nn.Module):
    """y = W_down f(W_up x).

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 2, with f = relu."""

    def __init__(self, width: int, hidden: int, activation: str, bias: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.up = Linear(width, hidden, "mlp.up", bias)
        self.down = Linear(hidden, width, "mlp.down", bias)

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return self.down(ACTIVATIONS[self.activation](self.up(x)))


class GatedMLP(nn.Module):
    """y = W_down (f(W_gate x) * W_up x); with f = silu the SwiGLU network.

    Source: Shazeer 2020, arXiv:2002.05202, eq. 6 (FFN_SwiGLU, no biases there).
    """

    def __init__(
        self, width: int, hidden: int, bias: bool = False, activation: str = "silu"
    ) -> None:
        super().__init__()
        self.activation = activation
        self.gate = Linear(width, hidden, "mlp.gate", bias)
        self.up = Linear(width, hidden, "mlp.up", bias)
        self.down = Linear(hidden, width, "mlp.down", bias)

    def forward(self, x: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        gate, up = self.gate(x), self.up(x)
        if self.activation == "silu":
            return self.down(gated(gate, up))
        return self.down(ACTIVATIONS[self.activation](gate) * up)


def gated(gate: Float[Tensor, "... F"], up: Float[Tensor, "... F"]) -> Float[Tensor, "... F"]:
    """silu(gate) * up"""
    if computes(gate):
        return kernel.gated(gate, up)
    return nn.functional.silu(gate) * up
