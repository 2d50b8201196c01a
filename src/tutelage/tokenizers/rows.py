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
from tutelage.models.catalogue import layout
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.extend import Pieces

if TYPE_CHECKING:
    import torch


def with_new_rows(weight: torch.Tensor, pieces: Pieces, axis: int = 0) -> torch.Tensor:
    """`weight` [V, ...] with a row for each new token: the mean of its pieces' rows, in float32.

    Rows beyond V are added as needed; a row within V that no token used (padding of the vocabulary)
    is overwritten. `axis` is that of the tokens, where it is not the first. Raises SourceError if a
    row would be left without a token.
    """
    weight = weight.movedim(axis, 0)
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
    return grown.movedim(0, axis).contiguous()


@dataclass(frozen=True)
class GrownWeight:
    """A weight with one row a token, read and grown on demand."""

    reader: WeightReader
    pieces: Pieces
    axis: int
    """Of the tokens."""

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.reader.shape)
        shape[self.axis] = max(shape[self.axis], *(id + 1 for id in self.pieces))
        return tuple(shape)

    @property
    def dtype(self) -> str:
        return self.reader.dtype

    def load(self) -> torch.Tensor:
        return with_new_rows(self.reader.load(), self.pieces, self.axis)


def extended_model(checkpoint: Checkpoint, tokenizer: Tokenizer, pieces: Pieces) -> Checkpoint:
    """The model with the extended tokenizer, and with rows for its new tokens."""
    config = dict(checkpoint.config)
    rows = rows_by_token(config)
    config["vocab_size"] = max(config["vocab_size"], *(id + 1 for id in pieces))
    weights: dict[str, WeightReader] = {
        # As stored a weight may have other axes than in the layout: BART's bias has one more.
        name: GrownWeight(reader, pieces, reader.shape.index(rows[name]))
        if name in rows
        else reader
        for name, reader in checkpoint.weights.items()
    }
    return replace(checkpoint, config=config, weights=weights, tokenizer=tokenizer)


def rows_by_token(config: Mapping[str, Any]) -> dict[str, int]:
    """Name of each weight with one row a token -> its rows: what a larger vocabulary changes."""
    larger = layout({**config, "vocab_size": config["vocab_size"] + 1})
    return {
        one.hf_name: before
        for one, other in zip(layout(config), larger, strict=True)
        for before, after in zip(one.shape, other.shape, strict=True)
        if before != after
    }
