"""Virtual tokens: ids beyond the vocabulary, before every row, and what is learned of them.

    [v1 ... vP | prompt answer]                              a decoder, or an encoder alone
    [v1 ... vP | prompt] -> [start answer]                   vectors, where an encoder reads
    [prompt] -> [v1 ... vP | start answer]                   keys and values (`deep`), likewise

A row's own tokens see them as any tokens before. All rows begin with them, so that a decoder's pack
reads them once and its cache keeps them once (`data/pack.py`, `nn/cache.py`). `VirtualTable` stands
in the place of the token table and tells of each pass where they are and what was made for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.reading import Virtual
from tutelage.models.catalogue import shape
from tutelage.models.forward import Model
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Embedding
from tutelage.peft._tokens import Started
from tutelage.peft._wrapped import Beside, put, trainable
from tutelage.peft.layout import (
    Base,
    common_config,
    opened,
    other_shape,
    read_tensors,
    write_adapter,
)

EMBEDDINGS = "prompt_embeddings"
ANY_VALUE = (
    "num_virtual_tokens", "token_dim", "num_attention_heads", "num_layers",
    "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers",
    "encoder_dropout", "prefix_projection", "init_weights",
)  # fmt: skip
"""How training began and what is dropped after it decides nothing of the values stored."""


def first_words(settings: Started, model: Model, generator: torch.Generator) -> Int[Tensor, "P"]:
    """The words that virtual tokens begin as: those of the text, else random ones."""
    count = settings.tokens or 0
    if settings.words is None:
        return random_words(model, count, generator)
    repeated = (settings.words * -(-count // len(settings.words)))[:count]
    return torch.tensor(repeated, device=model.device)


class Rows(nn.Module):
    """One row of numbers for each virtual token, learned as they are."""

    def __init__(self, start: Float[Tensor, "P W"]) -> None:
        super().__init__()
        self.rows = nn.Parameter(start.detach().float().clone())

    def forward(self) -> Float[Tensor, "P W"]:
        return self.rows


class Mixed(nn.Module):
    """Rows made by a network from learned ones: rows -> layers[0] -> f -> layers[1] ..."""

    def __init__(self, start: Float[Tensor, "P W"], widths: Sequence[int], tanh: bool) -> None:
        super().__init__()
        self.rows = nn.Parameter(start.detach().float().clone())
        self.tanh = tanh
        pairs = zip([start.shape[1], *widths], widths, strict=False)
        self.weights = nn.ParameterList(trainable(out, into, like=start) for into, out in pairs)
        self.biases = nn.ParameterList(trainable(out, like=start) for out in widths)

    def start(self, generator: torch.Generator) -> None:
        """Uniform in +-1/sqrt(in), as PyTorch begins linear maps."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            for values in (weight, bias):
                drawn = torch.rand(values.shape, generator=generator) * 2 - 1
                values.data.copy_(drawn * bound)

    def forward(self) -> Float[Tensor, "P W"]:
        x: Tensor = self.rows
        last = len(self.weights) - 1
        for at, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = nn.functional.linear(x, weight, bias)
            if at < last:
                x = torch.tanh(x) if self.tanh else torch.relu(x)
        return x


class Seen:
    """What one pass holds: the places of virtual tokens in it, which they are, and what was made
    for all of them."""

    def __init__(self) -> None:
        self.places = torch.empty(0, dtype=torch.long)
        self.which = torch.empty(0, dtype=torch.long)
        self.made = torch.empty(0)


class VirtualTable(Beside):
    """The token table with virtual ids behind it. `maker` gives a row for each; their vectors are
    those rows, or with `deep` those of the first token, which then only hold the places."""

    base: Embedding

    def __init__(self, base: Embedding, maker: nn.Module, count: int, deep: bool = False) -> None:
        super().__init__(base)
        self.role = base.role
        self.maker, self.count, self.deep = maker, count, deep
        self.seen = Seen()

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def ids(self) -> tuple[int, ...]:
        """What stands before every row."""
        first = self.base.vocabulary
        return tuple(range(first, first + self.count))

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        first, seen = self.base.vocabulary, self.seen
        seen.places = (ids >= first).nonzero()[:, 0]
        if not len(seen.places):
            return self.base(ids)
        seen.which, seen.made = ids[seen.places] - first, self.maker()
        x: Tensor = self.base(ids.masked_fill(ids >= first, 0))
        if self.deep:
            return x
        return x.index_put((seen.places,), seen.made[seen.which].to(x.dtype))


def virtual_of(model: Model) -> Virtual:
    """What the model's adapter puts before every row; nothing for most."""
    for deep in (False, True):
        table = stack(model, deep)[1].embed.tokens
        if isinstance(table, VirtualTable):
            return Virtual(table.ids, table.deep)
    return Virtual()


def stack(model: Model, deep: bool) -> tuple[str, Transformer]:
    """The stack of blocks whose rows virtual tokens stand before, and the path of its table."""
    if isinstance(model, Transformer):
        return "embed.tokens", model
    if deep:
        return "decoder.embed.tokens", model.decoder
    return "encoder.embed.tokens", model.encoder


def put_table(model: Model, maker: nn.Module, count: int, deep: bool = False) -> VirtualTable:
    """Let rows of `maker` stand for so many virtual tokens."""
    path, found = stack(model, deep)
    table = VirtualTable(found.embed.tokens, maker, count, deep)
    put(model, path, table)
    return table


def random_words(model: Model, count: int, generator: torch.Generator) -> Int[Tensor, "P"]:
    """Ids of the vocabulary, drawn alike."""
    vocabulary = len(stack(model, False)[1].embed.tokens.weight)
    return torch.randint(vocabulary, (count,), generator=generator).to(model.device)


def made_rows(model: Model) -> Float[Tensor, "P W"]:
    """What stands for the model's virtual tokens in the end, in float32; the network that made it
    is not needed any more."""
    table = next(module for module in model.modules() if isinstance(module, VirtualTable))
    with torch.no_grad():
        made: Tensor = table.maker()
    return made.float()


def write_rows(
    kind: str, model: Model, checkpoint: Checkpoint, rows: Float[Tensor, "P W"],
    config: Mapping[str, Any], folder: Path,
) -> None:  # fmt: skip
    """In PEFT's own layout."""
    whole = {
        **common_config(kind, checkpoint),
        "num_virtual_tokens": len(rows),
        "num_transformer_submodules": 1,
        "num_layers": shape(checkpoint.config).layers,
        **config,
    }
    base = Base.of(checkpoint, model)
    write_adapter(folder, whole, {EMBEDDINGS: rows}, base)


def read_rows(
    kind: str, model: Model, checkpoint: Checkpoint, widths: Sequence[int], folder: Path
) -> Float[Tensor, "P W"]:
    """The rows of an adapter of this kind, of one of these widths, in float32. Raises SourceError
    if it is none, was made on other weights, or does not fit.

    Of an encoder-decoder PEFT may keep vectors twice as many, and reads the first half alone."""
    stacks = (1,) if isinstance(model, Transformer) else (1, 2)
    honoured = {"num_transformer_submodules": stacks}
    config = opened(folder, Base.of(checkpoint, model), kind, honoured, ANY_VALUE)
    tensors = read_tensors(folder)
    rows = tensors.get(EMBEDDINGS)
    got = ", ".join(f"{name} {list(value.shape)}" for name, value in tensors.items())
    if (
        rows is None
        or len(tensors) > 1
        or rows.ndim != 2
        or rows.shape[1] not in widths
        or not len(rows)
    ):
        raise other_shape(folder, EMBEDDINGS, got, f"{EMBEDDINGS} [P, {widths[0]}]")
    twice = config.get("num_transformer_submodules") == 2 and len(rows) % 2 == 0
    if twice and len(rows) == 2 * config.get("num_virtual_tokens", 0):
        rows = rows[: len(rows) // 2]
    return rows.to(model.device, torch.float32)
