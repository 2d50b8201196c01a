"""Layers that read a row token after token and remember a vector of fixed size.

    i, f, o = sigmoid(W x_t + U h_{t-1} + b),  g = tanh(likewise)
    c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)

Source: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget gate of
Gers et al. 2000, doi:10.1162/089976600300015015.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tutelage.nn.attend import State
from tutelage.nn.attention import Pass


class LSTMLayer(nn.Module):
    """One layer of an LSTM as a block; PyTorch's own cell. Remembers (h, c) of each row."""

    scans = True

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.cell = nn.LSTM(width, hidden, batch_first=True)

    def forward(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "M F"]:
        return at.narrow(at.attend.scan(at.layer, self.step, x))[0]

    def step(
        self, x: Float[Tensor, "B T C"], lengths: Int[Tensor, "B"], state: State | None
    ) -> tuple[Float[Tensor, "B T F"], State]:
        """A `Scan` of `nn/attend.py`."""
        kind = next(self.cell.parameters()).dtype
        before = None if state is None else tuple(s.to(kind)[None].contiguous() for s in state)
        if int(lengths.min()) == x.shape[1]:
            y, after = self.cell(x.to(kind), before)
        else:
            packed = pack_padded_sequence(
                x.to(kind), lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            y, after = self.cell(packed, before)
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        return y.to(x.dtype), (after[0][0], after[1][0])
