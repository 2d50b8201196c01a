"""A LoRA adapter out of two checkpoints: the best of its rank for what tuning changed.

    D = W_tuned - W_base,      B = U_R,  A = U_R' D  with U_R the R first left singular vectors

Nearest to D among all of rank R (Eckart and Young 1936). What tuning changed besides linear maps
is no part of it, and is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.matched import matched
from tutelage.errors import ConfigError, RequestError, SourceError
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.peft import lora
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._targets import flag_text
from tutelage.peft.actions import lora as actions

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Extracted:
    """`kept` is the share of the squared change of the linear maps worked at that the adapter
    has; `left_out` are the names of the other weights that changed."""

    rank: int
    parameters: int
    kept: float
    left_out: tuple[str, ...]


def extract(
    base: Checkpoint, tuned: Checkpoint, settings: lora.Settings, out: Path,
    progress: Report = lambda what, done, total: None,
) -> Extracted:  # fmt: skip
    """Write the adapter; all or nothing. Raises SourceError for two models of different shapes,
    RequestError where the linear maps asked for did not change, ConfigError as LoRA's settings."""
    weights = layout(base.config)
    settings = _resolved(settings, weights)
    changed = _changes(base, tuned, weights)
    model: Model = build(base, "fp32")
    actions.attach(model, weights, settings, seed=0)
    whole = kept = 0.0
    left_out = []
    for number, weight in enumerate(weights):
        progress("extracting", number, len(weights))
        change = changed(weight)
        one = _beside(model, weight)
        if one is None:
            left_out += [weight.hf_name] if bool(change.any()) else []
            continue
        up, down = nearest(change, settings.rank or 0)
        one.lora_a.data.copy_(down)
        one.lora_b.data.copy_(up / one.scale)
        whole += float(change.square().sum())
        kept += float((up @ down).square().sum())
    if not whole:
        raise RequestError(
            "the two models have the same linear maps", field="TUNED", got=tuned.source,
            expected=f"a model tuned from {base.source}",
        )  # fmt: skip
    with store.new_folder(out) as inside:
        actions.write(model, base, settings, inside)
    count = lora.count(weights, settings)
    return Extracted(settings.rank or 0, count, min(kept / whole, 1.0), tuple(left_out))


def _resolved(settings: lora.Settings, weights: Sequence[Weight]) -> lora.Settings:
    found = lora.resolve_with((), settings, weights)
    if any(target.parts for target in lora.targets(weights, found)):
        raise ConfigError(
            "of a fused projection the whole is extracted", field=flag_text("role"),
            got=", ".join(found.roles or ()), expected=lora.FUSED,
        )  # fmt: skip
    return found


def _beside(model: Model, weight: Weight) -> LoraLinear | None:
    """What is beside the weight, if anything."""
    one = model.get_submodule(weight.path.rpartition(".")[0])
    return one if isinstance(one, LoraLinear) and weight.path.endswith(".weight") else None


def _changes(
    base: Checkpoint, tuned: Checkpoint, weights: Sequence[Weight]
) -> Callable[[Weight], Tensor]:
    """What tuning did to a weight, as our matrices stand. Raises SourceError."""
    if layout(tuned.config) != weights:
        raise SourceError(
            "the two models are of different shapes", field="TUNED", got=tuned.source,
            expected=f"a model tuned from {base.source}",
        )  # fmt: skip
    spec = spec_for(base.config)
    before, after = (matched(one, spec, weights) for one in (base, tuned))

    def changed(weight: Weight) -> Tensor:
        change = after[weight.path].load().float() - before[weight.path].load().float()
        return (change.t() if weight.transposed else change).reshape(weight.shape)

    return changed


def nearest(
    change: Float[Tensor, "O I"], rank: int
) -> tuple[Float[Tensor, "O R"], Float[Tensor, "R I"]]:
    """B and A of which the product is the nearest matrix of this rank. Worked out in float64 on the
    smaller side's products, which is exact enough and much less work than all singular vectors."""
    wide = change.double()
    if len(wide) > wide.shape[1]:
        up, down = nearest(change.t(), rank)
        return down.t().contiguous(), up.t().contiguous()
    _, vectors = torch.linalg.eigh(wide @ wide.t())
    up = vectors[:, -rank:].flip(1)
    return up.float(), (up.t() @ wide).float()
