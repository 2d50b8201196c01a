"""Virtual tokens: ids beyond the vocabulary, before every row, and what is learned of them.

    [v1 ... vP | prompt answer]                              a decoder, or an encoder alone
    [v1 ... vP | prompt] -> [start answer]                   vectors, where an encoder reads
    [prompt] -> [v1 ... vP | start answer]                   keys and values (`deep`), likewise

A row's own tokens see them as any tokens before. All rows begin with them, so that a decoder's pack
reads them once and its cache keeps them once (`data/pack.py`, `nn/cache.py`). `VirtualTable` stands
in the place of the token table and tells of each pass where they are and what was made for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.reading import Virtual
from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.catalogue import shape
from tutelage.models.forward import Model
from tutelage.models.spec import Shape, Weight
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Embedding
from tutelage.peft._targets import flag_text
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
DEFAULT_TOKENS = 20
ANY_VALUE = (
    "num_virtual_tokens", "token_dim", "num_attention_heads", "num_layers",
    "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers",
    "encoder_dropout", "prefix_projection", "init_weights",
)  # fmt: skip
"""How training began and what is dropped after it decides nothing of the values stored."""


class Started(Frozen):
    """How many virtual tokens, and what they begin as. None means a default, which `resolved`
    puts in."""

    tokens: int | None = None
    """P; as many as the text has, or 20."""
    start: Literal["vocabulary", "random"] = "vocabulary"
    """Random words, or random numbers."""
    text: str | None = None
    """Words to begin as instead, over and over where they are fewer than P."""
    words: tuple[int, ...] | None = None
    """The text's tokens."""


def worded(settings: Any, encode: Callable[[str], list[int]]) -> Any:
    """With the text's tokens. Raises ConfigError for a text beside a random start, and one without
    tokens or with more than there is room for."""
    if settings.text is None:
        return settings
    words = tuple(encode(settings.text))
    if settings.start == "random":
        raise ConfigError(
            "virtual tokens begin as a text or at random", field=flag_text("text"),
            got="both", expected="one of them",
        )  # fmt: skip
    most = len(words) if settings.tokens is None else settings.tokens
    if not 1 <= len(words) <= most:
        raise ConfigError(
            "the text that virtual tokens begin as does not fit them", field=flag_text("text"),
            got=f"{len(words)} tokens", expected=f"1 to {max(most, 1)} tokens",
            hint="shorten it, or leave --tokens out",
        )  # fmt: skip
    return settings.model_copy(update={"words": words})


def resolved(settings: Any, weights: Sequence[Weight], shape: Shape) -> Any:
    """With the number of virtual tokens. Raises ConfigError as `check` does."""
    tokens = settings.tokens
    if tokens is None:
        tokens = len(settings.words) if settings.words else DEFAULT_TOKENS
    check(tokens, weights, shape)
    return settings.model_copy(update={"tokens": tokens})


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


def token_table(weights: Sequence[Weight]) -> Weight:
    """The table of token vectors."""
    return next(weight for weight in weights if weight.role == "embed")


def check(tokens: int, weights: Sequence[Weight], shape: Shape) -> None:
    """Raise ConfigError for a number of virtual tokens that leaves no room: prompt and answer need
    a token each, on one axis or, where an encoder reads the prompt, on two."""
    own = 2 if shape.start is None else 1
    most = None if shape.context is None else shape.context - own
    if tokens < 1 or (most is not None and tokens > most):
        raise ConfigError(
            "virtual tokens must leave room in the model's context",
            field=flag_text("tokens"),
            got=tokens,
            expected="1 or more" if most is None else f"1 to {most}",
        )


def hidden_of(asked: int | None, default: int) -> int:
    """The width of the network that makes rows. Raises ConfigError for one that is none."""
    hidden = default if asked is None else asked
    if hidden < 1:
        raise ConfigError(
            "a network has at least one number between its layers",
            field=flag_text("hidden"),
            got=hidden,
            expected="1 or more",
        )
    return hidden


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
