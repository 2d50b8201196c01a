"""The logit lens: what the model would say if it stopped after each layer.

    p_l = softmax(head(norm(stream behind layer l)))

nostalgebraist 2020, "interpreting GPT: the logit lens". The last layer's is the model's own
prediction. `surprise` is -log2 p_l of the token that really comes next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tutelage.inspect.watch import Seen
from tutelage.models.transformer import Transformer


@dataclass(frozen=True)
class Guess:
    """After `layer`, at the token `place`: the likeliest tokens with their probabilities, and bits
    of surprise at the next token (None at the last one)."""

    layer: int
    place: int
    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    surprise: float | None


def lens(model: Transformer, seen: Seen, top: int = 5) -> list[list[Guess]]:
    """[layer][place]."""
    return [_layer(model, seen, layer, top) for layer in range(len(seen.streams))]


def _layer(model: Transformer, seen: Seen, layer: int, top: int) -> list[Guess]:
    with torch.inference_mode():
        logs = torch.log_softmax(model.logits(seen.streams[layer].to(model.compute)), dim=-1)
        best = logs.topk(min(top, logs.shape[-1]), dim=-1)
    found = []
    for place in range(len(seen.ids)):
        after = seen.ids[place + 1] if place + 1 < len(seen.ids) else None
        surprise = None if after is None else -float(logs[place, after]) / math.log(2)
        found.append(
            Guess(
                layer, place, tuple(best.indices[place].tolist()),
                tuple(best.values[place].exp().tolist()), surprise,
            )
        )  # fmt: skip
    return found
