"""How far apart two models' scores of the same texts are.

    max_logit_difference = max |a - b|,     kl = mean over tokens of sum_v p_a (log p_a - log p_b)

over every token of every text. Both models read the same ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.data.pack import Example, memory_of, pack
from tutelage.models.forward import Model, forward, task_scores

CHUNK = 256
"""Positions whose logits are in memory at once."""


@dataclass(frozen=True)
class Agreement:
    """`kl` in nats a token, from the first to the second; `top1_agreement` is the share of tokens
    of which both find the same likeliest; `n` the tokens compared."""

    max_logit_difference: float
    kl: float
    top1_agreement: float
    n: int


@dataclass(frozen=True)
class Apart:
    """The same of one text, in sums over its `n` tokens; `before` and `after` are the surprise of
    the text itself under the first and the second model, in nats."""

    most: float
    nats: float
    same: int
    n: int
    before: float
    after: float


def agreement(first: Model, second: Model, examples: Sequence[Example]) -> Agreement:
    """Of two models with one vocabulary, row by row."""
    each = [apart(first, second, example) for example in examples]
    count = sum(one.n for one in each)
    return Agreement(
        max((one.most for one in each), default=0.0),
        max(sum(one.nats for one in each), 0.0) / max(count, 1),
        sum(one.same for one in each) / max(count, 1),
        count,
    )


@torch.inference_mode()
def apart(first: Model, second: Model, example: Example) -> Apart:
    """How far two models are apart on the scored tokens of one text."""
    most = nats = before = after = 0.0
    same = count = 0
    labels = torch.tensor(example.labels).split(CHUNK)
    logits = zip(_logits(first, example), _logits(second, example), labels, strict=True)
    for a, b, label in logits:
        known, other = torch.log_softmax(a, -1), torch.log_softmax(b, -1)
        most = max(most, float((a - b).abs().max()))
        nats += float((known.exp() * (known - other)).sum())
        same += int((a.argmax(-1) == b.argmax(-1)).sum())
        told = label.to(a.device)[:, None]
        before -= float(known.gather(-1, told).sum())
        after -= float(other.gather(-1, told).sum())
        count += len(a)
    return Apart(most, nats, same, count, before, after)


def _logits(model: Model, example: Example) -> list[Float[Tensor, "M V"]]:
    memory = memory_of([example]) if example.memory else None
    hidden = forward(model, pack([example]), memory)
    scores = model.logits if model.task is None else partial(task_scores, model)
    return [scores(part) for part in hidden.split(CHUNK)]
