"""Loss and gradients of packed examples, and of the same examples one by one in transformers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers

from tutelage.data.pack import Example, pack
from tutelage.models.catalogue import layout
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer
from tutelage.objectives import clm


def our_loss(model: Transformer, examples: Sequence[Example], share: bool = True) -> clm.LossSum:
    found = pack(examples, share)
    labels, weights = map(torch.from_numpy, (found.labels, found.weights))
    return clm.loss(model, forward(model, found), labels, weights)


def their_loss(theirs: transformers.PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
    """The weighted sum over trained tokens, one example at a time, by torch's cross entropy."""
    total = torch.zeros(())
    for example in examples:
        logits = theirs(torch.tensor([example.ids])).logits[0, list(example.at)]
        nats = torch.nn.functional.cross_entropy(
            logits, torch.tensor(example.labels), reduction="sum"
        )
        total = total + example.weight * nats
    return total


def gradients_differ(model: Transformer, theirs: transformers.PreTrainedModel) -> dict[str, float]:
    """Largest difference of every weight's gradient."""
    own, wanted = dict(model.named_parameters()), dict(theirs.named_parameters())
    differences = {}
    for weight in layout(theirs.config.to_dict()):
        ours, other = own[weight.path].grad, wanted[weight.hf_name].grad
        assert ours is not None and other is not None
        differences[weight.path] = float((ours - other).abs().max())
    return differences
