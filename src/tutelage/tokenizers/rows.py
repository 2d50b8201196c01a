"""Rows of weights for tokens that are new: the mean of the rows of the pieces they were cut into.

A new word then begins as what the model knew it as, roughly, and not as noise (Gee et al. 2022).
Everything with one row a token grows alike: embedding, head, and the head's bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.errors import SourceError
from tutelage.models.spec import layout
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.extend import Pieces

if TYPE_CHECKING:
    import torch


def with_new_rows(weight: torch.Tensor, pieces: Pieces) -> torch.Tensor:
    """`weight` [V, ...] with a row for each new token: the mean of its pieces' rows, in float32.

    Rows beyond V are added as needed; a row within V that no token used (padding of the vocabulary)
    is overwritten. Raises SourceError if a row would be left without a token.
    """
    old = weight.shape[0]
    rows = max(old, *(id + 1 for id in pieces))
    missing = set(range(old, rows)) - set(pieces)
    if missing:
        raise SourceError(
            "the new tokens leave rows without a token",
            field="vocab_size",
            got=f"{old} rows, and no token {min(missing)}",
            expected="new ids right behind the rows",
        )
    grown = weight.new_empty((rows, *weight.shape[1:]))
    grown[:old] = weight
    for id, ids in pieces.items():
        grown[id] = weight[list(ids)].float().mean(dim=0).to(weight.dtype)
    return grown


@dataclass(frozen=True)
class GrownWeight:
    """A weight with one row a token, read and grown on demand."""

    reader: WeightReader
    pieces: Pieces

    @property
    def shape(self) -> tuple[int, ...]:
        rows = max(self.reader.shape[0], *(id + 1 for id in self.pieces))
        return (rows, *self.reader.shape[1:])

    @property
    def dtype(self) -> str:
        return self.reader.dtype

    def load(self) -> torch.Tensor:
        return with_new_rows(self.reader.load(), self.pieces)


def extended_model(checkpoint: Checkpoint, tokenizer: Tokenizer, pieces: Pieces) -> Checkpoint:
    """The model with the extended tokenizer, and with rows for its new tokens."""
    config = dict(checkpoint.config)
    by_token = rows_by_token(config)
    config["vocab_size"] = max(config["vocab_size"], *(id + 1 for id in pieces))
    weights: dict[str, WeightReader] = {
        name: GrownWeight(reader, pieces) if name in by_token else reader
        for name, reader in checkpoint.weights.items()
    }
    return replace(checkpoint, config=config, weights=weights, tokenizer=tokenizer, files=())


def rows_by_token(config: Mapping[str, Any]) -> frozenset[str]:
    """Names of the weights with one row a token: those that a larger vocabulary changes."""
    larger = layout({**config, "vocab_size": config["vocab_size"] + 1})
    pairs = zip(layout(config), larger, strict=True)
    return frozenset(one.hf_name for one, other in pairs if one.shape != other.shape)
