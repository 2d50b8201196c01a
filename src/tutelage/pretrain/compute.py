"""How much of the machine a run uses.

    FLOPs a trained token = 6 N + 6 L T C
    MFU = tokens a second x FLOPs a token / measured speed of large matrix products

N counts the weights a token is multiplied with, the head included and tables that are only looked
up not; L T C is causal attention, half of the square, forward and backward.
Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B (MFU; 12 L T C there, without the half).
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.machine.device import Placement
from tutelage.machine.speed import gemm_flops
from tutelage.models.spec import Shape, Weight

CONVENTION = (
    "(6 N + 6 L T C) FLOPs a token, N with the head and without tables, over the speed of a large "
    "matrix product measured before and after the run"
)


def multiplied(weights: Sequence[Weight], shape: Shape) -> int:
    """N: weights a token is multiplied with."""
    inside = sum(w.count for w in weights if w.layer is not None and len(w.shape) == 2)
    return inside + shape.vocabulary * shape.width


def flops_per_token(weights: Sequence[Weight], shape: Shape, context: int) -> int:
    return 6 * multiplied(weights, shape) + 6 * shape.layers * context * shape.width


def peak(placement: Placement) -> float:
    """The machine's limit: FLOPs a second of a large matrix product in the type computed in."""
    return gemm_flops(placement.dtype, placement.device)
