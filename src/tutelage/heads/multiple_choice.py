"""The right one of several choices: each is read with the question and gets one score.

    p = softmax over the choices of z_j = W x_j + b

Source: Radford et al. 2018, section 3.3 (multiple choice), and Devlin et al. 2019,
arXiv:1810.04805, section 4.4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.data.pack import Example
from tutelage.heads._head import Head, Question, Read, Reply, Unfit, no_labels
from tutelage.heads.coder import Coder
from tutelage.models.forward import Model, task_scores
from tutelage.objectives.cross_entropy import LossSum
from tutelage.text.task_text import LETTERS, choices_in

BESIDE = -1
"""The label of a choice that is not the first of its question."""


def read(coder: Coder, asked: Question, known: tuple[str, ...]) -> Read:
    question, choices = choices_in(asked.text)
    if len(choices) < 2:
        raise Unfit("no-choices", f"{len(choices)} choices, as lines (A) ..., (B) ... at the end")
    rows = [coder.coded(question, choice) for choice in choices]
    longest = max(rows, key=lambda row: len(row.ids))
    if not coder.fits(longest):
        raise Unfit("too-long", f"{len(longest.ids)} tokens, the context holds {coder.context}")
    right = 0 if asked.answer is None else _right(asked.answer, choices)
    first, *rest = rows
    others = [coder.example(row, [coder.deciding(row)], [BESIDE], asked.weight) for row in rest]
    at = [coder.deciding(first)]
    example = coder.example(first, at, [right], asked.weight, asked.name, beside=others)
    return Read(example, choices)


def _right(answer: str, choices: tuple[str, ...]) -> int:
    """By its words or its letter."""
    plain = " ".join(answer.split())
    if plain in choices:
        return choices.index(plain)
    letter = plain.strip("()")
    if letter and letter in LETTERS[: len(choices)]:
        return LETTERS.index(letter)
    raise Unfit("unknown-label", f"{answer!r} is none of the choices")


def loss(
    model: Model, hidden: Float[Tensor, "M C"], labels: Int[Tensor, "M"],
    weights: Float[Tensor, "M"],
) -> LossSum:  # fmt: skip
    """sum over questions of w (logsumexp_j z_j - z_right)"""
    found = task_scores(model, hidden)[:, 0]
    first = labels != BESIDE
    group = torch.cumsum(first, dim=0) - 1
    starts = torch.nonzero(first)[:, 0]
    right = found[starts + labels[starts]]
    highest = torch.full_like(right, -torch.inf).scatter_reduce(
        0, group, found.detach(), "amax", include_self=False
    )
    total = torch.zeros_like(right).index_add(0, group, (found - highest[group]).exp())
    each = total.log() + highest - right
    return LossSum((each * weights[starts]).sum(), float(weights[starts].sum()))


def reply(found: Float[Tensor, "M 1"], asked: Read, known: tuple[str, ...]) -> Reply:
    likely = torch.softmax(found[:, 0], dim=0).tolist()
    best = max(range(len(likely)), key=likely.__getitem__)
    return Reply(asked.keep[best], dict(zip(asked.keep, likely, strict=True)))


def told(example: Example, known: tuple[str, ...], spell: Callable[[int], str]) -> tuple[str, ...]:
    """The letter of the right choice."""
    return (LETTERS[int(example.labels[0])],)


HEAD = Head(
    "multiple-choice", ("accuracy",), no_labels, read, loss, reply, told, unit="nats per question"
)
