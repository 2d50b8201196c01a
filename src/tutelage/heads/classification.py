"""A label of a whole text: cross-entropy over the labels.

    p = softmax(z),   z = W x + b of the vector x that stands for the row

x is the first token's of an encoder, through its pooler where it has one (Devlin et al. 2019,
arXiv:1810.04805, section 4.1), the last token's of a decoder (Radford et al. 2018, section 3.2),
the decoder's last of an encoder-decoder (Lewis et al. 2020, arXiv:1910.13461, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.heads._head import Head, Question, Read, Reply, Unfit, classes, place_of
from tutelage.heads.coder import Coder
from tutelage.models.forward import Model, task_scores
from tutelage.objectives.cross_entropy import LossSum


def labels(answers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """In the order of the alphabet."""
    return classes(sorted({answer for _, answer in answers}), answers)


def read(coder: Coder, asked: Question, known: tuple[str, ...]) -> Read:
    row = coder.coded(asked.text)
    if not coder.fits(row):
        raise Unfit("too-long", f"{len(row.ids)} tokens, the context holds {coder.context}")
    label = 0 if asked.answer is None else place_of(asked.answer, known)
    at = [coder.deciding(row)]
    return Read(coder.example(row, at, [label], asked.weight, asked.name))


def loss(
    model: Model, hidden: Float[Tensor, "M C"], labels: Int[Tensor, "M"],
    weights: Float[Tensor, "M"],
) -> LossSum:  # fmt: skip
    """sum_i w_i (logsumexp(z_i) - z_i[label_i])"""
    each = torch.nn.functional.cross_entropy(task_scores(model, hidden), labels, reduction="none")
    return LossSum((each * weights).sum(), float(weights.sum()))


def reply(found: Float[Tensor, "1 K"], asked: Read, known: tuple[str, ...]) -> Reply:
    likely = torch.softmax(found[0], dim=-1).tolist()
    best = max(range(len(known)), key=likely.__getitem__)
    return Reply(known[best], dict(zip(known, likely, strict=True)))


HEAD = Head("classification", ("accuracy", "macro_f1"), labels, read, loss, reply)
