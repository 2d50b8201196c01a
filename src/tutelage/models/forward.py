"""One reading of packed rows by any model: the encoder first, where there is one."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout, PackedAttention

Model = Transformer | EncoderDecoder


def forward(model: Model, plan: Any, memory: Any | None = None) -> Float[Tensor, "M C"]:
    """Vectors before the final norm of the tokens a pack selects. `plan` and `memory` are the plain
    arrays of `data/pack.py`; `memory` are the encoder's rows and None where there is none."""
    device = model.device
    attend = PackedAttention(Layout.of(plan, str(device), memory))
    select = torch.from_numpy(plan.select).to(device)
    return model.hidden(tokens_of(plan, device), attend, select, encoded(model, memory))


def encoded(model: Model, memory: Any | None) -> Float[Tensor, "S C"] | None:
    """The encoder's vectors of the rows packed in `memory`; None for a model without one."""
    if not isinstance(model, EncoderDecoder):
        return None
    assert memory is not None, "an encoder-decoder reads rows with a source"
    attend = PackedAttention(Layout.of(memory, str(model.device)))
    return model.encode(tokens_of(memory, model.device), attend)


def task_scores(model: Model, hidden: Float[Tensor, "M C"]) -> Float[Tensor, "M K"]:
    """What a task's head makes of vectors before the final norm, in float32."""
    assert model.task is not None
    if not isinstance(model, Transformer):
        return model.task(model.decoder.vectors(hidden))
    return model.task(model.vectors(hidden) if model.pooler is None else model.pooled(hidden))


def tokens_of(plan: Any, device: torch.device) -> Tokens:
    """The tokens of a pack on a device."""
    ids, positions = (torch.from_numpy(x).to(device) for x in (plan.ids, plan.positions))
    types = None if plan.types is None else torch.from_numpy(plan.types).to(device)
    return Tokens(ids, positions, types)


def scans(model: Model) -> bool:
    """Whether a part remembers its rows otherwise than by keys and values: such rows are read whole
    and share nothing."""
    return any(getattr(module, "scans", False) for module in model.modules())
