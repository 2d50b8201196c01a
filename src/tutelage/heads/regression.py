"""A number of a whole text: the squared error of the one score."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from tutelage.heads._head import Head, Question, Read, Reply, Unfit, no_labels
from tutelage.heads.coder import Coder
from tutelage.models.forward import Model, task_scores
from tutelage.objectives.cross_entropy import LossSum


def read(coder: Coder, asked: Question, known: tuple[str, ...]) -> Read:
    row = coder.coded(asked.text)
    if not coder.fits(row):
        raise Unfit("too-long", f"{len(row.ids)} tokens, the context holds {coder.context}")
    wanted = 0.0 if asked.answer is None else _number(asked.answer)
    return Read(coder.example(row, [coder.deciding(row)], [wanted], asked.weight, asked.name))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unfit("unknown-label", f"{text!r} is no number")
    return value


def loss(
    model: Model, hidden: Float[Tensor, "M C"], labels: Float[Tensor, "M"],
    weights: Float[Tensor, "M"],
) -> LossSum:  # fmt: skip
    """sum_i w_i (z_i - y_i)^2"""
    error = (task_scores(model, hidden)[:, 0] - labels) ** 2
    return LossSum((error * weights).sum(), float(weights.sum()))


def reply(found: Float[Tensor, "1 1"], asked: Read, known: tuple[str, ...]) -> Reply:
    return Reply(f"{float(found[0, 0]):.6g}")


HEAD = Head(
    "regression", ("pearson", "spearman"), no_labels, read, loss, reply, unit="squared error"
)
