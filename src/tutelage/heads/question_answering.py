"""The words of a passage that answer a question: every token scored as the first and as the last.

    loss = (CE(start) + CE(end)) / 2 over a row's places;    answer = argmax_{s <= e} z_s + z'_e

A question that the passage does not answer points at the row's first token. Source: Devlin et al.
2019, arXiv:1810.04805, sections 4.2 and 4.3; the half is of transformers' classes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.data.pack import Example
from tutelage.heads._head import Head, Question, Read, Reply, Unfit, no_labels
from tutelage.heads.coder import Coded, Coder
from tutelage.models.forward import Model, task_scores
from tutelage.objectives.cross_entropy import LossSum
from tutelage.text.task_text import passage_in

START, END, FIRST = 1, 2, 4
"""Bits of a place's label: the answer begins here, ends here; here a row begins."""
LONGEST = 30
"""Tokens of the longest answer that is looked for, as in the source's code."""


def read(coder: Coder, asked: Question, known: tuple[str, ...]) -> Read:
    question, context = passage_in(asked.text)
    if not context.strip():
        raise Unfit("empty-text", "no passage behind a blank line")
    row = coder.coded(question, context)
    if not coder.fits(row):
        raise Unfit("too-long", f"{len(row.ids)} tokens, the context holds {coder.context}")
    at = [len(coder.virtual.ids), *(place for place, _, _ in row.spans)]
    labels = [FIRST] + [0] * len(row.spans)
    if asked.answer is not None:
        first, last = _ends(row, *_where(asked, context)) if asked.answer.strip() else (0, 0)
        labels[first] |= START
        labels[last] |= END
    example = coder.example(row, at, labels, asked.weight, asked.name, terms=1)
    return Read(example, (context, tuple((start, end) for _, start, end in row.spans)))


def _where(asked: Question, context: str) -> tuple[int, int]:
    """First and behind-last character of the answer: where the row says, or else the first place
    where its words stand."""
    assert asked.answer is not None
    said = asked.extra.get("start")
    start = context.find(asked.answer) if said is None else said
    if start < 0 or context[start : start + len(asked.answer)] != asked.answer:
        place = "in the passage" if said is None else f"at character {said} of the passage"
        raise Unfit("outside-text", f"{asked.answer!r} does not stand {place}")
    return start, start + len(asked.answer)


def _ends(row: Coded, start: int, end: int) -> tuple[int, int]:
    """Among the row's places, those of the answer's first and last token."""
    inside = [n for n, (_, s, e) in enumerate(row.spans, 1) if s < end and e > start]
    if not inside:
        raise Unfit("outside-text", "no token of the answer")
    return inside[0], inside[-1]


def loss(
    model: Model, hidden: Float[Tensor, "M C"], labels: Int[Tensor, "M"],
    weights: Float[Tensor, "M"],
) -> LossSum:  # fmt: skip
    """sum over rows of w (CE(start) + CE(end)) / 2"""
    found = task_scores(model, hidden)
    starts = torch.nonzero(labels & FIRST)[:, 0]
    sizes = torch.diff(starts, append=starts.new_tensor([len(labels)])).tolist()
    total = found.new_zeros(())
    parts = (found, labels, weights)
    for z, label, weight in zip(*(x.split(sizes) for x in parts), strict=True):
        for column, bit in enumerate((START, END)):
            right = z[:, column][(label & bit) != 0].sum()
            total = total + weight[0] / 2 * (torch.logsumexp(z[:, column], dim=0) - right)
    return LossSum(total, float(weights[starts].sum()))


def reply(found: Float[Tensor, "M 2"], asked: Read, known: tuple[str, ...]) -> Reply:
    context, spans = asked.keep
    begins, ends = (torch.log_softmax(found[:, column].double(), dim=0) for column in (0, 1))
    count = len(spans)
    both = begins[1:, None] + ends[None, 1:]
    far = torch.arange(count)[None] - torch.arange(count)[:, None]
    both = both.masked_fill((far < 0) | (far >= LONGEST), -torch.inf)
    best = int(both.argmax()) if count else 0
    none = float(begins[0] + ends[0])
    if not count or none >= float(both.max()):
        return Reply("")
    first, last = divmod(best, count)
    return Reply(context[spans[first][0] : spans[last][1]].strip())


def told(example: Example, known: tuple[str, ...], spell: Callable[[int], str]) -> tuple[str, ...]:
    """The answer's tokens."""
    ids = example.memory or example.ids
    first = next(n for n, label in enumerate(example.labels) if int(label) & START)
    last = next(n for n, label in enumerate(example.labels) if int(label) & END)
    return tuple(spell(ids[place]) for place in example.at[first : last + 1])


HEAD = Head("question-answering", ("exact_match", "f1"), no_labels, read, loss, reply, told)
