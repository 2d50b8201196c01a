"""How much of the machine a run uses.

    FLOPs of a row of T tokens = T (6 N + 6 L T C)
    MFU = rows a second x FLOPs a row / measured speed of large matrix products

N counts the weights a token is multiplied with, the head included and tables that are only looked
up not, of a layer's experts as many as a token uses; L T C is causal attention, half of the square,
forward and backward, C being that of all heads together. Where a token does not see all before it
the square is counted in the share of its pairs that are seen (`nn/pairs.py`); where a row is read
both ways it is whole, an LSTM has none, an encoder's tokens are multiplied with its own weights,
and the head counts for predicted tokens alone.
Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B (MFU; 12 L T C there, without the half).
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.pack import Example
from tutelage.machine.device import Placement, multiplied_in
from tutelage.machine.speed import gemm_flops
from tutelage.models.spec import Shape, Weight
from tutelage.plan.parameters import products, size

CONVENTION = (
    "(6 N + 6 L T C) FLOPs a token, N with the head, without tables, and with those experts alone "
    "that a token uses, L T C in the share of its pairs that a pattern shows, over the speed of a "
    "large matrix product measured before and after the run"
)


def multiplied(weights: Sequence[Weight], shape: Shape) -> int:
    """N of a decoder: weights a token is multiplied with."""
    return _inside(weights, encoder=False) + shape.vocabulary * shape.width


def flops_per_token(weights: Sequence[Weight], shape: Shape, context: int) -> int:
    """Of a decoder that predicts every token."""
    mixing = round(shape.square(context) / context * shape.queries)
    return 6 * (multiplied(weights, shape) + mixing)


def flops_of(weights: Sequence[Weight], shape: Shape, row: Example) -> int:
    """Forward and backward of one row, by any model."""
    read, source = len(row.ids), len(row.memory)
    both = 2 if row.lead == read else 1
    squares = both * shape.square(read) + 2 * shape.layers * read * source
    squares += 2 * shape.encoder_layers * source * source
    products = read * _inside(weights, encoder=False) + source * _inside(weights, encoder=True)
    head = row.trained * shape.vocabulary * shape.width
    return 6 * (products + head + round(squares * shape.queries))


def _inside(weights: Sequence[Weight], encoder: bool) -> int:
    """Weights of the blocks, of an encoder beside a decoder or of all else."""
    stack = [weight for weight in weights if weight.path.startswith("encoder.") == encoder]
    return sum(size(entry) for entry in products(stack))


def peak(placement: Placement) -> float:
    """The machine's limit: FLOPs a second of a large matrix product in the type multiplied in."""
    return gemm_flops(multiplied_in(placement), placement.device)
