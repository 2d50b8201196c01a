"""FLOPs of training, and the days and money they take, before anything is built.

    flops = tokens x FLOPs a token,      one petaflop/s-day = 1e15 x 86,400 = 8.64e19 FLOPs

FLOPs a token, forward and backward (three times the forward pass), by convention:

    6n        6 N                       Kaplan et al. 2020, arXiv:2001.08361, section 2.1
    causal    6 N + 6 L T C             attention scores and values, half of the square: the default
    palm      6 N + 12 L T C            the whole square: Chowdhery et al. 2022, appendix B
    course    72 L C^2 + 6 L T C        matrices of the blocks alone (12 L C^2), as it is taught

N counts the weights a token is multiplied with: the head with them, a table that is only looked up
not, and of a layer's experts as many as a token uses; where only a number of parameters is known,
N is that number. L layers, T context, C width; in L T C that of all heads together. A model without
heads, as an LSTM, has no square; where a token does not see all before it the square is counted in
the share of its pairs that are seen (`nn/pairs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.errors import UnknownName
from tutelage.models.spec import Shape
from tutelage.plan.parameters import Entry, products, size

PETAFLOP_S_DAY = 1e15 * 86_400

Convention = Literal["6n", "causal", "palm", "course"]
CONVENTIONS: dict[str, str] = {
    "6n": "6 N",
    "causal": "6 N + 6 L T C",
    "palm": "6 N + 12 L T C",
    "course": "72 L C^2 + 6 L T C",
}


@dataclass(frozen=True)
class PerToken:
    """FLOPs of one token of training, and what they were counted from."""

    flops: float
    convention: str
    formula: str
    counts_embeddings: str
    keys_seen: float | None = None
    """By a token, the mean over a row and over layers."""


def of_parameters(parameters: float) -> PerToken:
    """6 N, all that a number of parameters tells."""
    return PerToken(
        6 * parameters, "6n", f"6 x {parameters:g}", "as they are in the number that was given"
    )


def of_model(
    entries: Sequence[Entry], shape: Shape, context: int, convention: str = "causal"
) -> PerToken:
    """FLOPs a token of a decoder's weights. Raises UnknownName for a convention."""
    if convention not in CONVENTIONS:
        raise UnknownName("convention", convention, CONVENTIONS, field="--convention")
    inside = sum(size(entry) for entry in products(entries))
    weights = inside + shape.vocabulary * shape.width
    square = shape.square(context) / context * shape.queries
    keys = shape.pairs(context) / (shape.layers * context)
    if convention == "course":
        matrices = shape.layers * shape.width**2
        return PerToken(
            72 * matrices + 6 * square,
            convention,
            f"72 x {shape.layers} x {shape.width}^2 + 6 x {_square(shape, context)}",
            "neither head nor tables",
            keys,
        )
    times = {"6n": 0, "causal": 6, "palm": 12}[convention] if shape.heads else 0
    more = f" + {times} x {_square(shape, context)}" if times else ""
    return PerToken(
        6 * weights + times * square,
        convention,
        f"6 x {weights}{more}",
        "the head, not tables that are looked up",
        keys,
    )


def petaflop_s_days(flops: float) -> float:
    return flops / PETAFLOP_S_DAY


def seconds(flops: float, peak: float, count: int = 1, mfu: float = 1.0) -> float:
    """Time of so many FLOPs on `count` devices of `peak` FLOP/s at this utilization."""
    return flops / (peak * count * mfu)


def mfu(tokens_per_second: float, per_token: float, peak: float, count: int = 1) -> float:
    """Model FLOPs utilization: tokens a second over those that the peak would allow.

    Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B.
    """
    return tokens_per_second * per_token / (peak * count)


def _square(shape: Shape, context: int) -> str:
    share = shape.square(context) / (shape.layers * context**2)
    seen = "" if share == 1 else f" x {share:.4g} of the pairs seen"
    return f"{shape.layers} x {context} x {shape.queries}{seen}"
