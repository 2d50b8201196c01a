"""The chunked loss against torch's cross entropy, with gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.parity.witness import VOCABULARY, pair
from tutelage.models.transformer import Transformer
from tutelage.objectives import cross_entropy


class Scored:
    """A head and nothing before it."""

    head_bias = None

    def __init__(self, head_weight: Tensor) -> None:
        self.head_weight = head_weight

    def prepare(self, x: Tensor) -> Tensor:
        return x


def plain_loss(model: Transformer, hidden: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    each = torch.nn.functional.cross_entropy(model.logits(hidden), labels, reduction="none")
    return (each * weights).sum()


def gradients(model: Transformer, total: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    hidden.grad = None
    (total * 0.37).backward()  # an upstream factor, as the mean over a step is one
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert hidden.grad is not None
    return {**found, "hidden": hidden.grad.clone()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 23])
def test_loss_and_gradients_equal_cross_entropy(
    tied: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK", 8)
    monkeypatch.setattr(cross_entropy, "FROZEN_CHUNK", 8)
    _, model = pair(tie_word_embeddings=tied)
    model.requires_grad_(True)
    torch.manual_seed(count)
    hidden = torch.randn(count, 32, requires_grad=True)
    labels = torch.randint(VOCABULARY, (count,))
    weights = torch.rand(count) * 2
    found = cross_entropy.loss(model, hidden, labels, weights)
    expected = plain_loss(model, hidden, labels, weights)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert found.count == pytest.approx(weights.sum().item())
    ours = gradients(model, found.total, hidden)
    theirs = gradients(model, expected, hidden)
    assert set(ours) == set(theirs) and len(ours) >= 3
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs[name], atol=1e-6, rtol=1e-5), name


def test_a_frozen_head_gets_no_gradient_and_passes_the_same_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cross_entropy, "FROZEN_CHUNK", 2)
    _, model = pair()
    hidden = torch.randn(5, 32, requires_grad=True)
    labels, weights = torch.randint(VOCABULARY, (5,)), torch.rand(5)
    ours = gradients(model, cross_entropy.loss(model, hidden, labels, weights).total, hidden)
    theirs = gradients(model, plain_loss(model, hidden, labels, weights), hidden)
    assert set(ours) == {"hidden"} and model.head_weight.grad is None
    assert ours["hidden"].abs().max() > 0
    assert torch.allclose(ours["hidden"], theirs["hidden"], atol=1e-6, rtol=1e-5)


def test_a_weight_of_zero_teaches_nothing() -> None:
    _, model = pair()
    hidden = torch.randn(4, 32, requires_grad=True)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0])
    cross_entropy.loss(model, hidden, torch.tensor([1, 2, 3, 4]), weights).total.backward()
    assert hidden.grad is not None
    assert hidden.grad[[1, 3]].abs().max() == 0
    assert (hidden.grad[[0, 2]].abs().amax(-1) > 0).all()


def test_extreme_scores_stay_finite() -> None:
    """logsumexp and not the log of a sum: scores of 1e4 neither overflow nor lose the label."""
    _, model = pair()
    with torch.no_grad():
        model.head_weight.mul_(1e4)
    hidden = torch.randn(6, 32, requires_grad=True)
    labels = torch.randint(VOCABULARY, (6,))
    found = cross_entropy.loss(model, hidden, labels, torch.ones(6))
    expected = plain_loss(model, hidden, labels, torch.ones(6))
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    found.total.backward()
    assert hidden.grad is not None and torch.isfinite(hidden.grad).all()


def test_bfloat16_stays_near_float32() -> None:
    """Scores are made in the type of the activations and summed in float32."""
    _, model = pair()
    hidden = torch.randn(40, 32)
    labels = torch.randint(VOCABULARY, (40,))
    wide = cross_entropy.loss(model, hidden, labels, torch.ones(40)).total.item()
    narrow = cross_entropy.loss(model, hidden.bfloat16(), labels, torch.ones(40)).total
    assert narrow.dtype == torch.float32
    # 8 bits of mantissa on scores of some 10: an error of 0.04 each at most, 0.01 in the mean.
    assert narrow.item() == pytest.approx(wide, rel=0.01)


@pytest.mark.parametrize("spread", [0.05, 0.6])
def test_float16_loses_no_more_of_the_heads_gradient_than_torch_does(spread: float) -> None:
    """The scores' gradients are rounded a token at a time, before the loss's scale and its mean:
    against float32 that is as near as scaling first, for tokens from 1e-5 to 1e-12 likely."""
    torch.manual_seed(3)
    head, x = torch.randn(20_000, 32) * 2 * spread, torch.randn(64, 32).half()
    scores = x.float() @ head.T
    labels = torch.distributions.Categorical(logits=scores).sample()
    upstream = 65536 / 8192

    def found(dtype: torch.dtype, ours: bool) -> list[Tensor]:
        model = Scored(head.to(torch.float16).to(torch.float32).requires_grad_(True))
        hidden = x.to(dtype, copy=True).requires_grad_(True)
        if ours:
            total = cross_entropy.loss(model, hidden, labels, torch.ones(64)).total
        else:
            made = torch.nn.functional.linear(hidden, model.head_weight.to(dtype)).float()
            total = torch.nn.functional.cross_entropy(made, labels, reduction="sum")
        (total * upstream).backward()
        assert hidden.grad is not None and model.head_weight.grad is not None
        return [hidden.grad.float() / upstream, model.head_weight.grad / upstream]

    exact, ours, theirs = (
        found(torch.float32, True), found(torch.float16, True), found(torch.float16, False)
    )  # fmt: skip
    for whole, mine, other in zip(exact, ours, theirs, strict=True):
        assert (mine - whole).norm() < 1.02 * (other - whole).norm() < 0.01 * whole.norm()


def test_a_fresh_model_knows_nothing() -> None:
    """With weights near zero every token is as likely: ln V nats each."""
    _, model = pair()
    with torch.no_grad():
        model.head_weight.mul_(1e-3)
    hidden = torch.randn(50, 32)
    found = cross_entropy.loss(model, hidden, torch.randint(VOCABULARY, (50,)), torch.ones(50))
    assert found.total.item() / found.count == pytest.approx(math.log(VOCABULARY), abs=0.01)


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing_changes_the_gradient_as_torch_does(smoothing: float) -> None:
    """And not the total: nats of the labels stay what is measured."""
    _, model = pair()
    model.requires_grad_(True)
    torch.manual_seed(1)
    hidden = torch.randn(9, 32, requires_grad=True)
    labels, weights = torch.randint(VOCABULARY, (9,)), torch.rand(9) * 2
    found = cross_entropy.loss(model, hidden, labels, weights, smoothing=smoothing)
    plain = plain_loss(model, hidden, labels, weights)
    assert found.total.item() == pytest.approx(plain.item(), rel=1e-6)
    each = torch.nn.functional.cross_entropy(
        model.logits(hidden), labels, reduction="none", label_smoothing=smoothing
    )
    ours = gradients(model, found.total, hidden)
    for name, gradient in gradients(model, (each * weights).sum(), hidden).items():
        assert torch.allclose(ours[name], gradient, atol=1e-6, rtol=1e-5), name
