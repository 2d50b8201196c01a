"""The pull to the start and the way back to it, against closed forms and PyTorch's own decay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.unit.train.rows import SOURCE, config, rows_of, tuned
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import ConfigError
from tutelage.peft import METHODS
from tutelage.peft.open import open_adapter
from tutelage.train import start
from tutelage.train.optimizer import adamw
from tutelage.train.prepare import predict, prepare

RATE = 0.05


def test_with_a_start_of_zero_the_pull_is_the_decay_of_adamw() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, as PyTorch has it."""
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(5)), nn.Parameter(torch.zeros(5))
    theirs.data.copy_(ours.data)
    parameters = {"w": ours}
    optimizer = start.pulled(adamw(parameters, RATE), parameters, {"w": torch.zeros(5)}, 0.7)
    witness = torch.optim.AdamW([theirs], lr=RATE, eps=1e-8, weight_decay=0.7)
    for _ in range(5):
        gradient = torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        witness.step()
    torch.testing.assert_close(ours.data, theirs.data)


def test_without_a_gradient_to_speak_of_the_way_back_is_geometric() -> None:
    """w_n - w0 = (1 - lr lambda)^n (w - w0), where Adam's own steps are nothing."""
    w = nn.Parameter(torch.tensor([3.0, -1.0]))
    w0, parameters = torch.tensor([1.0, 1.0]), {"w": w}
    optimizer = start.pulled(adamw(parameters, RATE), parameters, {"w": w0}, 2.0)
    for _ in range(10):
        w.grad = torch.zeros(2)
        optimizer.step()
    expected = w0 + (1 - RATE * 2.0) ** 10 * (torch.tensor([3.0, -1.0]) - w0)
    torch.testing.assert_close(w.data, expected)


def test_a_pull_beyond_the_start_stops_there_and_none_changes_nothing() -> None:
    w = nn.Parameter(torch.tensor([3.0]))
    parameters = {"w": w}
    plain = adamw(parameters, RATE)
    assert start.pulled(plain, parameters, {}, 0.0) is plain
    w.grad = torch.zeros(1)
    start.pulled(plain, parameters, {"w": torch.ones(1)}, 1e6).step()
    assert w.item() == 1.0


def test_a_strong_pull_leaves_a_tuned_model_nearer_to_its_base(tmp_path: Path) -> None:
    base = _weights(SOURCE)
    far = []
    for strength in (0.0, 3000.0):
        out = tmp_path / f"{strength:g}"
        tuned(out, config(method="full", pull=strength))
        after = _weights(str(out))
        far.append(sum(float((after[n] - base[n]).square().sum()) for n in base))
    assert far[1] < 0.5 * far[0]


@pytest.mark.parametrize("method", ["full", "last-layers", "bitfit", "norms"])
def test_weights_are_left_at_their_share_of_the_way(method: str, tmp_path: Path) -> None:
    """w0 + alpha (w - w0) of every weight, against the same run that is left at its end."""
    assert _updates(method, tmp_path)


@pytest.mark.parametrize("method", ["lora", "vera", "ia3"])
def test_so_is_what_an_adapter_does_to_them(method: str, tmp_path: Path) -> None:
    assert _updates(method, tmp_path)


def _updates(method: str, folder: Path, share: float = 0.25) -> bool:
    """Whether the changes of the merged weights are in proportion."""
    base, ends = _weights(SOURCE), []
    for part in (1.0, share):
        out = folder / f"{method}-{part:g}"
        tuned(out, config(method=method, interpolate=part))
        ends.append(_weights(SOURCE, out) if METHODS.get(method).adapter else _weights(str(out)))
    moved = 0.0
    for name, end in ends[0].items():
        before = base.get(name, torch.zeros_like(end))  # biases that there were not
        whole, partly = end - before, ends[1][name] - before
        torch.testing.assert_close(partly, share * whole, atol=2e-6, rtol=1e-4)
        moved += float(whole.abs().sum())
    return moved > 0


def _weights(source: str, adapter: Path | None = None) -> dict[str, torch.Tensor]:
    """Float32, with the adapter merged in."""
    checkpoint = open_checkpoint(source)
    model = build(checkpoint, "fp32")
    if adapter is not None:
        open_adapter(model, checkpoint, adapter)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("method", ["dora", "adapter", "prefix-tuning", "prompt-tuning"])
def test_what_has_no_share_is_refused(method: str) -> None:
    with pytest.raises(ConfigError) as raised:
        prepare(SOURCE, rows_of(), config(method=method, interpolate=0.5), dtype="fp32", threads=1)
    assert raised.value.field == "--interpolate" and method in raised.value.message


def test_what_was_before_is_kept_and_planned() -> None:
    run, plain = (
        prepare(SOURCE, rows_of(), config(method="full", pull=pull), dtype="fp32", threads=1)
        for pull in (1.0, 0.0)
    )
    more = predict(run).memory["optimizer"] - predict(plain).memory["optimizer"]
    assert more == 4 * run.trained_parameters
