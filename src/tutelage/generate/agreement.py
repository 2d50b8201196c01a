"""How far apart two models' scores of the same texts are.

    max_logit_difference = max |a - b|,     kl = mean over tokens of sum_v p_a (log p_a - log p_b)

over every token of every text. Both models read the same ids. The divergence is summed in float64
as p_a (d + exp(-d) - 1), d = log p_a - log p_b: the same over a whole vocabulary, whose
probabilities sum to 1 on both sides, and no term is below 0, so that of models that are all but
equal rounding leaves no negative sum.
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

CHUNK = 128
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
        sum(one.nats for one in each) / max(count, 1),
        sum(one.same for one in each) / max(count, 1),
        count,
    )


@torch.inference_mode()
def apart(first: Model, second: Model, example: Example) -> Apart:
    """How far two models are apart on the scored tokens of one text."""
    most = nats = before = after = 0.0
    same = count = 0
    labels = torch.tensor(example.labels).split(CHUNK)
    scores = zip(_logits(first, example), _logits(second, example), labels, strict=True)
    for a, b, label in scores:
        known, other = (logits.cpu().double().log_softmax(-1) for logits in (a, b))
        most = max(most, float((a - b).abs().max()))
        nats += float(divergences(known, other).sum())
        same += int((a.argmax(-1) == b.argmax(-1)).sum())
        told = label[:, None]
        before -= float(known.gather(-1, told).sum())
        after -= float(other.gather(-1, told).sum())
        count += len(a)
    return Apart(most, nats, same, count, before, after)


def divergences(known: Float[Tensor, "M V"], other: Float[Tensor, "M V"]) -> Float[Tensor, "M V"]:
    """Each token's share of the divergence, from log probabilities. Far apart, where exp(-d) could
    overflow, its two parts are taken apart; nothing cancels there."""
    gap = known - other
    near = known.exp() * (gap + torch.expm1(-gap))
    far = known.exp() * (gap - 1) + other.exp()
    return torch.where(gap.abs() < 1, near, far)


def _logits(model: Model, example: Example) -> list[Float[Tensor, "M V"]]:
    memory = memory_of([example]) if example.memory else None
    hidden = forward(model, pack([example]), memory)
    scores = model.logits if model.task is None else partial(task_scores, model)
    return [scores(part) for part in hidden.split(CHUNK)]
