"""Laws fitted to runs that follow a law, and to runs that do not quite."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import DataError
from tutelage.plan.fitting import Trained, iso_flops, parametric
from tutelage.plan.scaling import PARAMETRIC, Fit

OWN = Fit(0.8, 120.0, 900.0, 0.4, 0.45)


def runs_of(law: Fit, noise: float = 0.0) -> list[Trained]:
    """Five sizes around the best of three budgets."""
    drawn = np.random.default_rng(0)
    made = []
    for flops in (1e13, 1e14, 1e15):
        for share in (0.25, 0.5, 1, 2, 4):
            params = law.best(flops) * share
            tokens = flops / (6 * params)
            loss = law.loss(params, tokens) * (1 + noise * drawn.standard_normal())
            made.append(Trained(params, tokens, loss))
    return made


@pytest.mark.parametrize("law", [OWN, PARAMETRIC])
def test_a_law_is_found_again(law: Fit) -> None:
    found = parametric(runs_of(law))
    for name in ("alpha", "beta"):
        assert getattr(found, name) == pytest.approx(getattr(law, name), rel=0.02)
    assert found.best(1e16) == pytest.approx(law.best(1e16), rel=0.05)
    assert found.loss(1e8, 1e9) == pytest.approx(law.loss(1e8, 1e9), rel=0.01)


def test_noise_moves_a_prediction_little() -> None:
    found = parametric(runs_of(OWN, noise=0.002))
    params = OWN.best(1e16)
    tokens = 1e16 / (6 * params)
    assert found.loss(params, tokens) == pytest.approx(OWN.loss(params, tokens), rel=0.03)


def test_no_term_is_below_zero() -> None:
    """Loss that grows with N, which no law of this form can say."""
    runs = [Trained(n, d, 1 + n / 1e9 + 100 / d**0.5) for n in (1e6, 4e6) for d in (1e7, 4e7, 1e8)]
    found = parametric(runs)
    assert found.a == 0 and found.b > 0 and found.e > 0


def test_valleys_lie_where_the_law_has_them() -> None:
    found = iso_flops(runs_of(OWN))
    assert [valley.inside for valley in found.valleys] == [True] * 3
    for valley in found.valleys:
        assert valley.params == pytest.approx(OWN.best(valley.flops), rel=0.25)
    exponent = OWN.beta / (OWN.alpha + OWN.beta)
    assert found.exponent == pytest.approx(exponent, abs=0.02)
    assert found.best(1e16) == pytest.approx(OWN.best(1e16), rel=0.25)


def test_runs_far_from_the_best_size_do_not_move_it() -> None:
    """Losses of a real sweep: the largest models had read too little to differ, and a parabola
    through all five has its lowest point at a size below one."""
    found = {86208: 2.0, 139584: 1.976, 443008: 2.253, 631680: 2.380, 1426752: 2.458}
    far = [Trained(size, 1, loss, 1e12) for size, loss in found.items()]
    valley = iso_flops([*far, *runs_of(OWN)]).valleys[0]
    assert valley.inside and 86208 < valley.params < 443008


def test_a_valley_outside_the_sizes_tried_is_told_and_not_counted() -> None:
    outside = [Trained(size, 1, 1 + np.log(size / 1e3) ** 2, 1e12) for size in (2e3, 4e3, 8e3)]
    alone = iso_flops(runs_of(OWN))
    both = iso_flops([*outside, *runs_of(OWN)])
    assert [valley.inside for valley in both.valleys] == [False, True, True, True]
    assert both.exponent == alone.exponent and both.scale == alone.scale


def test_too_few_runs_are_refused() -> None:
    runs = runs_of(OWN)
    with pytest.raises(DataError):
        parametric(runs[:4])
    with pytest.raises(DataError):
        iso_flops(runs[:5])
    falling = [Trained(n, 1e15 / (6 * n), 3 - np.log(n) / 10) for n in (1e6, 2e6, 4e6)]
    with pytest.raises(DataError):
        iso_flops([*falling, *runs[:5]])
