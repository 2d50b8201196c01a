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


@torch.inference_mode()
def agreement(first: Model, second: Model, examples: Sequence[Example]) -> Agreement:
    """Of two models with one vocabulary, row by row."""
    most = nats = 0.0
    same = count = 0
    for example in examples:
        for a, b in zip(_logits(first, example), _logits(second, example), strict=True):
            known, other = torch.log_softmax(a, -1), torch.log_softmax(b, -1)
            most = max(most, float((a - b).abs().max()))
            nats += float((known.exp() * (known - other)).sum())
            same += int((a.argmax(-1) == b.argmax(-1)).sum())
            count += len(a)
    return Agreement(most, max(nats, 0.0) / max(count, 1), same / max(count, 1), count)


def _logits(model: Model, example: Example) -> list[Float[Tensor, "M V"]]:
    memory = memory_of([example]) if example.memory else None
    hidden = forward(model, pack([example]), memory)
    scores = model.logits if model.task is None else partial(task_scores, model)
    return [scores(part) for part in hidden.split(CHUNK)]
