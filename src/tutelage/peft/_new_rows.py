"""Rows of the token table that are trained while the table is frozen: those of new tokens.

    e(t) = rows[i] where t is the i-th of them, else E[t];      likewise a head's rows, tied or not

Written beside what the method writes, as PEFT's trainable tokens; which tokens they are stands in
`base.json`. Trained parameters: n d, twice where the head is a matrix of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.errors import SourceError
from tutelage.models.forward import Model
from tutelage.models.spec import Weight
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Embedding
from tutelage.nn.linear import Linear
from tutelage.peft._wrapped import Beside, Folding, frozen, put
from tutelage.peft.layout import (
    BASE,
    CONFIG,
    ROWS,
    ROWS_PART,
    WEIGHTS,
    module_names,
    no_such_module,
    other_shape,
    read_config,
    tensor_name,
)

TABLE, HEAD = "embed.tokens", "head.linear"


class NewRows(Folding):
    """A frozen table, or head, of which the rows at `places` are replaced by trained ones."""

    def __init__(
        self, base: nn.Module, places: Int[Tensor, "n"], rows: Float[Tensor, "n C"]
    ) -> None:
        super().__init__(base)
        self.role = base.role
        self.places = nn.Buffer(places, persistent=False)
        self.new_rows = nn.Parameter(rows.detach().float().clone())

    @property
    def bias(self) -> Tensor | None:
        """A head's."""
        found: Tensor | None = getattr(self.base, "bias", None)
        return found

    @property
    def vocabulary(self) -> int:
        return len(self._frozen)

    @property
    def weight(self) -> Float[Tensor, "V C"]:
        """The whole matrix, as a head needs it."""
        return self._frozen.index_copy(0, self.places, self.new_rows.to(self._frozen.dtype))

    @property
    def _frozen(self) -> Tensor:
        found: Tensor = self.base.get_parameter("weight")
        return found

    def forward(self, ids: Int[Tensor, "N"]) -> Float[Tensor, "N C"]:
        x: Tensor = self.base(ids)
        found = ids[:, None] == self.places[None]
        at, which = found.nonzero(as_tuple=True)
        return x.index_put((at,), self.new_rows[which].to(x.dtype)) if len(at) else x

    def merged(self) -> tuple[Tensor, Tensor | None]:
        return self.weight.float(), None


def attach(model: Model, places: Sequence[int]) -> None:
    """Train these rows of the table, and of a head of its own, in float32; none where all of their
    matrix is trained already."""
    for path in _matrices(model) if places else ():
        module = model.get_submodule(path)
        weight = module.get_parameter("weight")
        if not weight.requires_grad:
            where = torch.tensor(places, device=weight.device)
            put(model, path, NewRows(module, where, weight[where]))


def count(weights: Sequence[Weight], own: Sequence[Weight], number: int) -> int:
    """n d for every matrix with a row a token that is not trained as a whole (`own`)."""
    whole = {weight.path for weight in own}
    found = [w for w in weights if w.role in ("embed", "head") and w.path not in whole]
    return number * sum(weight.shape[1] for weight in found)


def _matrices(model: Model) -> list[str]:
    """Where the table and a head of its own stand, below anything beside them."""
    assert isinstance(model, Transformer)
    paths = [TABLE]
    if model.head is not None and model.head.linear is not None:
        paths.append(HEAD)
    return [_below(model, path) for path in paths]


def _below(model: Model, path: str) -> str:
    while isinstance(model.get_submodule(path), Beside):
        path = f"{path}.base"
    return path


def add(
    model: Model, checkpoint: Checkpoint, tokens: Sequence[str], places: Sequence[int], folder: Path
) -> None:
    """Put the rows, and which tokens they are, into an adapter that was just written."""
    names = module_names(checkpoint)
    found = {
        names[path.split(".base")[0]]: one
        for path, one in model.named_modules()
        if isinstance(one, NewRows)
    }
    if found:
        tensors = load_file(folder / WEIGHTS)
        for stem, one in found.items():
            tensors[tensor_name(stem, ROWS_PART)] = one.new_rows.detach().cpu().contiguous()
        write_tensors(tensors, folder / WEIGHTS)
        each = {stem.rpartition(".")[2]: list(places) for stem in found}
        config = {**read_config(folder), ROWS: list(places) if len(each) == 1 else each}
        store.write_json(folder / CONFIG, config)
    store.write_json(folder / BASE, {**store.read_json(folder / BASE), "tokens": list(tokens)})


def read(model: Model, checkpoint: Checkpoint, folder: Path) -> None:
    """Put the rows of an adapter, ours or PEFT's, in their places, frozen. Raises SourceError for
    rows that do not fit."""
    said = read_config(folder).get(ROWS)
    if not said:
        return
    paths = {stem: path for path, stem in module_names(checkpoint).items()}
    suffix = f".{ROWS_PART}"
    for name, rows in load_file(folder / WEIGHTS).items():
        if not name.endswith(suffix):
            continue
        stem = name.removeprefix(tensor_name("", "")[:-1]).removesuffix(suffix)
        if paths.get(stem) not in (TABLE, HEAD):
            raise no_such_module(folder, stem)
        _put(model, _below(model, paths[stem]), _places(said, stem, folder), rows, folder)


def _put(model: Model, path: str, places: Sequence[int], rows: Tensor, folder: Path) -> None:
    module = model.get_submodule(path)
    assert isinstance(module, Embedding | Linear)
    vocabulary, width = module.weight.shape
    fits = all(isinstance(at, int) and 0 <= at < vocabulary for at in places)
    if not fits or rows.shape != (len(places), width) or len(set(places)) != len(places):
        got = f"{list(rows.shape)} for the places {list(places)[:5]}"
        raise other_shape(folder, path, got, f"[n, {width}] for n places below {vocabulary}")
    one = NewRows(module, torch.tensor(places, device=module.weight.device), rows)
    one.new_rows = frozen(rows, module.weight)
    put(model, path, one)


def _places(said: object, stem: str, folder: Path) -> Sequence[int]:
    """The rows' places in this module."""
    found: Any = said
    if isinstance(said, Mapping):
        found = next((v for key, v in said.items() if f".{stem}".endswith(f".{key}")), None)
    if not isinstance(found, list):
        raise SourceError(
            "the adapter does not say which rows it brings", field=f"{folder / CONFIG}: {ROWS}",
            got=said, expected=f"places of rows of {stem}",
        )  # fmt: skip
    return found
