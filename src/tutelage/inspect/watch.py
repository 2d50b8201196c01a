"""One row read with everything kept: who attends to whom in every head, and the stream behind every
layer.

    seen = watch(model, ids)
    seen.weights[layer]      [H T T] float32; row t sums to 1 over the tokens t sees
    seen.streams[layer]      [T C] behind block `layer`; the last is what the final norm reads

The model is not changed: its Attend object is one that computes the softmax in the open, and hooks
look at what blocks return. Memory grows with L H T^2; rows are short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.errors import RequestError
from tutelage.models.transformer import Transformer
from tutelage.nn.attend import Rule, Scan, mask_of
from tutelage.nn.embedding import Tokens


@dataclass
class OpenAttention:
    """Attention of one row, its weights kept by layer."""

    weights: dict[int, Float[Tensor, "H T T"]] = field(default_factory=dict)

    def __call__(
        self,
        layer: int,
        q: Float[Tensor, "T H D"],
        k: Float[Tensor, "T K D"],
        v: Float[Tensor, "T K D"],
        rule: Rule,
    ) -> Float[Tensor, "T H D"]:
        places = torch.arange(q.shape[0], device=q.device)
        shared = q.shape[1] // k.shape[1]
        keys, values = (x.repeat_interleave(shared, dim=1).float() for x in (k, v))
        scale = 1 / math.sqrt(q.shape[2]) if rule.scale is None else rule.scale
        scores = torch.einsum("thd,shd->hts", q.float(), keys) * scale
        limit = None if rule.causal else torch.tensor([len(places)], device=q.device)
        mask = mask_of(rule, places[None], places, scores.dtype, limit)
        weights = torch.softmax(scores + mask[0], dim=-1)
        self.weights[layer] = weights
        return torch.einsum("hts,shd->thd", weights, values).to(q.dtype)

    def cross(
        self, layer: int, q: Tensor, memory: Callable[[], tuple[Tensor, Tensor]], rule: Rule
    ) -> Tensor:
        raise RequestError(
            "an encoder-decoder is not looked into",
            field="MODEL",
            expected="a model of one stack of layers",
        )

    def scan(self, layer: int, step: Scan, x: Float[Tensor, "T C"]) -> Float[Tensor, "T O"]:
        """A layer without softmax attention: it has no weights to show."""
        mixed, _ = step(x[None], torch.tensor([x.shape[0]], device=x.device), None)
        return mixed[0]


@dataclass(frozen=True)
class Seen:
    """What one row looked like on its way through a model of L layers and H heads."""

    ids: tuple[int, ...]
    weights: tuple[Float[Tensor, "H T T"], ...]
    streams: tuple[Float[Tensor, "T C"], ...]


def watch(model: Transformer, ids: Sequence[int]) -> Seen:
    """Read a row. Raises RequestError for one that is empty or longer than the model's context."""
    longest = model.context
    if not ids or (longest is not None and len(ids) > longest):
        raise RequestError(
            "the text does not fit the model", field="PROMPT", got=f"{len(ids)} tokens",
            expected=f"1 to {longest}",
        )  # fmt: skip
    attend = OpenAttention()
    streams: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, out: streams.append(out.float()))
        for block in model.blocks
    ]
    row = torch.tensor(list(ids), device=model.device)
    try:
        with torch.inference_mode():
            model.hidden(Tokens(row, torch.arange(len(ids), device=model.device)), attend)
    finally:
        for hook in hooks:
            hook.remove()
    weights = tuple(attend.weights[layer].float().cpu() for layer in sorted(attend.weights))
    return Seen(tuple(ids), weights, tuple(streams))
