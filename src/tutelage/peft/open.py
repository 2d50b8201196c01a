"""An adapter's folder onto a model, by the kind its configuration names."""

from __future__ import annotations

from pathlib import Path

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import RequestError, SourceError
from tutelage.models.forward import Model
from tutelage.nn.form import Form
from tutelage.nn.quantized import QuantizedLinear
from tutelage.peft import METHODS, _head, _new_rows
from tutelage.peft._method import Method
from tutelage.peft._wrapped import Beside, put
from tutelage.peft.layout import CONFIG, kind_of, made_on_of


def method_of(folder: Path) -> Method:
    """The method that made the adapter. Raises SourceError for a kind that none here reads, and
    what `read_config` raises."""
    kind = kind_of(folder)
    known: dict[str, Method] = {}
    for name in METHODS.names():
        method: Method = METHODS.get(name)
        if method.peft_type is not None:
            known[method.peft_type] = method
    if kind not in known:
        raise SourceError(
            "this kind of adapter is not known",
            field=f"{folder / CONFIG}: peft_type",
            got=kind,
            expected="one of " + ", ".join(sorted(known)),
        )
    return known[kind]


def form_of(folder: Path) -> Form | None:
    """In which few bits the adapter's base is held; None if it is not, or is not known. Raises
    DamagedError."""
    made_on = made_on_of(folder)
    return None if made_on is None else made_on.form


def open_adapter(
    model: Model, checkpoint: Checkpoint, folder: Path, *, head: bool = True
) -> Method:
    """Put the adapter in `folder` on the model, merged into its weights where that can be; the
    model is built in the adapter's own form (`form_of`). Without `head` a head in it is left out,
    and the model has none, while the checkpoint says which the adapter was made under. Raises
    SourceError, DamagedError."""
    method = read_adapter(model, checkpoint, folder, head=head)
    if method.merge is not None:
        merge(model, method)
    return method


def read_adapter(
    model: Model, checkpoint: Checkpoint, folder: Path, *, head: bool = True
) -> Method:
    """Put the adapter beside the model's weights, and its rows of new tokens and its head among
    them. Raises SourceError, DamagedError."""
    method = method_of(folder)
    assert method.read is not None
    model.new_rows = True
    try:
        method.read(model, checkpoint, folder)
        _new_rows.read(model, checkpoint, folder)
        if head:
            _head.read(model, checkpoint, folder)
    finally:
        model.new_rows = False
    return method


def merge(model: Model, method: Method) -> None:
    """Fold what is attached into the weights, and make those of few bits wide. What cannot be
    folded stays beside its weight."""
    assert method.merge is not None
    method.merge(model)
    for path, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            put(model, path, module.plain(module.matrix(model.compute)))
    model.form = None


def refuse_beside(model: Model) -> None:
    """Raise RequestError where something had to stay beside the weights."""
    for path, module in model.named_modules():
        if isinstance(module, Beside):
            raise RequestError(
                f"what is beside {path} cannot be merged: its weight is the head's too",
                field="--adapter",
                hint="generate and serve take the adapter beside its base with --adapter",
            )
