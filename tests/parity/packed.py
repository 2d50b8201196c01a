"""Loss and gradients of packed examples, and of the same examples one by one in transformers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers

from tutelage.data.pack import Example, pack
from tutelage.models.decoder import Decoder
from tutelage.models.spec import layout
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.objectives import clm


def our_loss(model: Decoder, examples: Sequence[Example], share: bool = True) -> clm.LossSum:
    found = pack(examples, share)
    ids, positions, select, labels, weights = map(
        torch.from_numpy,
        (found.ids, found.positions, found.select, found.labels, found.weights),
    )
    hidden = model.hidden(ids, positions, PackedAttention(Layout.of(found)), select)
    return clm.loss(model, hidden, labels, weights)


def their_loss(theirs: transformers.PreTrainedModel, examples: Sequence[Example]) -> torch.Tensor:
    """The weighted sum over trained tokens, one example at a time, by torch's cross entropy."""
    total = torch.zeros(())
    for example in examples:
        ids = torch.tensor([example.prompt + example.completion])
        logits = theirs(ids).logits[0, len(example.prompt) - 1 : -1]
        nats = torch.nn.functional.cross_entropy(
            logits, torch.tensor(example.completion), reduction="sum"
        )
        total = total + example.weight * nats
    return total


def gradients_differ(model: Decoder, theirs: transformers.PreTrainedModel) -> dict[str, float]:
    """Largest difference of every weight's gradient."""
    own, wanted = dict(model.named_parameters()), dict(theirs.named_parameters())
    differences = {}
    for weight in layout(theirs.config.to_dict()):
        ours, other = own[weight.path].grad, wanted[weight.hf_name].grad
        assert ours is not None and other is not None
        differences[weight.path] = float((ours - other).abs().max())
    return differences
