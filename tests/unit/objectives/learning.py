"""What every objective must show of learning: on eight rows, whatever the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from torch import Tensor

from tutelage.checkpoints.build import build
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.data.pack import Example
from tutelage.models.catalogue import find_preset
from tutelage.models.forward import Model
from tutelage.objectives.cross_entropy import LossSum
from tutelage.text.byte_level import pair_tokenizer
from tutelage.train.loop import Plan, Step, _gradients, train
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

VOCABULARY = 300
"""Bytes, control tokens and room for sentinels."""
TEXTS = [
    "the cat sat on the mat. it purred.", "a stitch in time saves nine! or ten?", "it glitters",
    "better late. than never. they say.", "the cat is out of the bag", "no news is good news. no.",
    "actions speak louder. than words.", "every cloud has a silver lining",
]  # fmt: skip


def ids_of(text: str) -> list[int]:
    return pair_tokenizer().encode_plain(text)


def fresh(name: str, seed: int = 2) -> Model:
    """A preset's shape with random weights and a vocabulary of 300."""
    config = {**find_preset(name), "vocab_size": VOCABULARY}
    model: Model = build(random_checkpoint("test", config, pair_tokenizer(), seed, {}))
    return model.train().requires_grad_(True)


def trained(
    model: Model, steps: int, rate: float, rows: Sequence[Example], loss: Callable[..., LossSum],
    **plan: Any,
) -> list[Step]:  # fmt: skip
    parameters = dict(model.named_parameters())
    settings = Plan(Schedule.tuning(steps, rate), **plan)
    return list(train(model, parameters, adamw(parameters, rate), [rows] * steps, loss, settings))


def check_start(
    name: str, rows: Sequence[Example], loss: Callable[..., LossSum], expected: float, seeds: int
) -> None:
    """The mean of fresh models' first losses, nats a token, within 2% of what theory gives."""
    first = [trained(fresh(name, seed), 1, 1e-9, rows, loss)[0] for seed in range(seeds)]
    assert first[0].trained_tokens == sum(row.trained for row in rows)
    assert sum(step.loss for step in first) / seeds == pytest.approx(expected, rel=0.02)


def check_overfits(
    name: str, rows: Sequence[Example], loss: Callable[..., LossSum], steps: int = 200
) -> Model:
    assert len(rows) == 8
    model = fresh(name)
    assert trained(model, steps, 3e-3, rows, loss)[-1].loss < 0.05
    return model


def check_accumulation(name: str, rows: Sequence[Example], loss: Callable[..., LossSum]) -> None:
    """Eight packs of one row equal one pack of eight: a sum over a count, exact but for the
    rounding of sums in another order."""
    one = trained(fresh(name), 5, 1e-3, rows, loss)
    eight = trained(fresh(name), 5, 1e-3, rows, loss, micro_batches=8)
    for a, b in zip(one, eight, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)
    whole, parts = (gradients(fresh(name), rows, loss, cut) for cut in (1, 8))
    for path, gradient in whole.items():
        assert (gradient - parts[path]).abs().max() < 1e-6, path


def gradients(
    model: Model, rows: Sequence[Example], loss: Callable[..., LossSum], micro_batches: int
) -> dict[str, Tensor]:
    """Of the mean loss, before anything is clipped or stepped."""
    _gradients(model, rows, loss, Plan(Schedule.tuning(1, 1.0), micro_batches=micro_batches))
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
