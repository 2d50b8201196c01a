"""The divergence of two models: its definition, and never below 0 by rounding."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import rel_entr

from tutelage.generate.agreement import divergences


def _logs(logits: torch.Tensor) -> torch.Tensor:
    return logits.double().log_softmax(-1)


def test_it_is_the_definition() -> None:
    torch.manual_seed(0)
    for scale in (0.01, 1.0, 30.0):
        a, b = _logs(scale * torch.randn(5, 400)), _logs(scale * torch.randn(5, 400))
        known = rel_entr(a.exp().numpy(), b.exp().numpy()).sum(-1)
        np.testing.assert_allclose(divergences(a, b).sum(-1).numpy(), known, rtol=1e-9)


def test_rounding_leaves_no_negative_sum() -> None:
    torch.manual_seed(0)
    logits = torch.randn(50, 3000) * 4
    moved = logits + 1e-6 * torch.randn(50, 3000)
    each = divergences(_logs(logits), _logs(moved)).sum(-1)
    assert bool((each > 0).all()), "in float32 and by the definition half of them are below 0"
    assert bool((divergences(_logs(logits), _logs(logits)) == 0).all())


def test_scores_far_apart_stay_numbers() -> None:
    a = _logs(torch.tensor([[0.0, 2000.0, -2000.0]]))
    b = _logs(torch.tensor([[2000.0, 0.0, -2000.0]]))
    assert float(divergences(a, b).sum()) == 2000.0
