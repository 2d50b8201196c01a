"""What every way of tuning promises on families of models, decoders, encoders with a head and two
stacks: gradients reach what is trained and nothing else, and another base is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.tuned import stir
from tests.unit.heads.rows import rows_of as labelled
from tests.unit.train.rows import config, rows_of
from tutelage.checkpoints.build import build
from tutelage.checkpoints.headed import with_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import SourceError
from tutelage.peft import METHODS
from tutelage.peft.layout import BASE
from tutelage.peft.open import open_adapter
from tutelage.train.loop import loss_of
from tutelage.train.prepare import Run, prepare, working

NAMES = METHODS.names()
FAMILIES = {
    "preset:llama-tiny": None,
    "preset:gpt2-tiny": None,
    "preset:bloom-tiny": None,
    "preset:gemma-tiny": None,
    "preset:bert-tiny": "classification",
    "preset:roberta-tiny": "token-classification",
    "preset:t5-tiny": None,
    "preset:bart-tiny": None,
    "preset:transformer-tiny": None,
}
"""And the head that is learned, where the model does not write. Of experts each is reached by some
tokens alone; Mixtral and Switch are left out."""


def run_of(name: str, source: str, folder: Path) -> Run:
    head = FAMILIES[source]
    rows = rows_of(6) if head is None else list(labelled(head, folder, 6))
    where: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
    settings = config(method=name, head=head, steps=1, batch_tokens=4000)
    return prepare(source, rows, settings, **where)


@pytest.mark.parametrize("source", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_all_that_is_trained_and_nothing_else(
    name: str, source: str, tmp_path: Path
) -> None:
    run = run_of(name, source, tmp_path)
    model, work = working(run)
    assert sum(p.numel() for p in work.parameters.values()) == run.trained_parameters
    before = {path: p.detach().clone() for path, p in model.named_parameters()}
    stir(model, 0.05)  # away from the start, where some gradients are zero
    loss_of(model, run.examples, run.loss).total.backward()
    for path, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, path
        assert parameter.requires_grad or torch.equal(parameter, before[path]), path
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("source", FAMILIES)
@pytest.mark.parametrize("name", [name for name in NAMES if METHODS.get(name).adapter])
def test_another_base_is_refused_by_hash(name: str, source: str, tmp_path: Path) -> None:
    """The same shapes, other weights: nothing is attached."""
    run = run_of(name, source, tmp_path)
    model, _ = working(run)
    run.write(model, tmp_path / "out")
    method, head = METHODS.get(name), run.task
    form = method.form(run.settings)
    for seed in (0, 1):
        checkpoint = open_checkpoint(source, seed=seed)
        checkpoint = checkpoint if head is None else with_head(checkpoint, head, run.config.seed)
        other = build(checkpoint, form=form)
        kinds = [type(module) for module in other.modules()]
        if seed == 0:
            open_adapter(other, checkpoint, tmp_path / "out")
            continue
        with pytest.raises(SourceError, match="another model") as caught:
            open_adapter(other, checkpoint, tmp_path / "out")
        assert caught.value.field == str(tmp_path / "out" / BASE)
        assert [type(module) for module in other.modules()] == kinds
