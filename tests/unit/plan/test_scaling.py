"""Scaling laws against the papers' own tables, and against searches."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import ConfigError, UnknownName
from tutelage.plan.known_models import KNOWN, judged
from tutelage.plan.scaling import (
    LAWS,
    PARAMETRIC,
    REPLICATION,
    Fit,
    kaplan_loss,
    scaled,
    serving_aware,
)

BUDGET = 5.8e23


@pytest.mark.parametrize("fit", [PARAMETRIC, REPLICATION])
@pytest.mark.parametrize("flops", [1e18, BUDGET, 1e26])
def test_the_best_size_is_the_best_of_a_grid(fit: Fit, flops: float) -> None:
    best = fit.best(flops)
    sizes = best * np.geomspace(0.1, 10, 4001)
    losses = [fit.loss(n, flops / (6 * n)) for n in sizes]
    assert sizes[int(np.argmin(losses))] == pytest.approx(best, rel=1e-2)


@pytest.mark.parametrize(
    ("law", "ratio", "within"),
    [
        ("rule", 20, 1e-9),
        ("approach1", 21.4, 0.1),
        ("parametric", 92.7, 0.1),
        ("replication", 18.4, 0.1),
    ],
)
def test_the_laws_disagree_at_chinchillas_budget(law: str, ratio: float, within: float) -> None:
    assert scaled(law, None, None, BUDGET).ratio == pytest.approx(ratio, abs=max(within, 1e-6))


@pytest.mark.parametrize(
    ("law", "params", "flops", "tokens"),
    [
        ("approach1", 1e9, 1.21e20, 20.2e9),
        ("approach1", 10e9, 1.23e22, 205.1e9),
        ("approach1", 280e9, 9.90e24, 5.9e12),
        ("approach2", 10e9, 1.32e22, 219.5e9),
        ("approach2", 175e9, 4.54e24, 4.3e12),
    ],
)
def test_the_papers_table(law: str, params: float, flops: float, tokens: float) -> None:
    """Hoffmann et al. 2022, tables 3 and A3, to the two digits the exponents have."""
    found = scaled(law, params, None, None)
    assert found.flops == pytest.approx(flops, rel=0.13)
    assert found.tokens == pytest.approx(tokens, rel=0.13)


@pytest.mark.parametrize("law", LAWS)
def test_what_is_not_given_follows_from_what_is(law: str) -> None:
    one = scaled(law, None, None, 1e21)
    assert scaled(law, one.params, None, None).flops == pytest.approx(1e21, rel=1e-6)
    assert scaled(law, None, one.tokens, None).flops == pytest.approx(1e21, rel=1e-6)
    both = scaled(law, one.params, one.tokens, None)
    assert (both.flops, both.loss) == pytest.approx((1e21, one.loss), rel=1e-6)
    assert scaled(law, one.params, None, 1e21).tokens == pytest.approx(one.tokens)
    assert scaled(law, None, one.tokens, 1e21).params == pytest.approx(one.params)


def test_wrong_questions_are_refused() -> None:
    for given in ((None, None, None), (1e9, 1e9, 1e9)):
        with pytest.raises(ConfigError):
            scaled("rule", *given)
    with pytest.raises(UnknownName, match="law"):
        scaled("chinchila", 1e9, None, None)


def test_kaplans_loss_falls_to_its_one_sided_laws() -> None:
    assert kaplan_loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)
    assert kaplan_loss(1e30, 1e10) == pytest.approx((1.8e13 / 1e10) ** 0.103, rel=1e-3)


def test_serving_asks_for_a_smaller_model_trained_for_longer() -> None:
    alone, served = scaled("parametric", None, None, BUDGET), serving_aware(BUDGET, 1e13)
    assert served.params < alone.params and served.tokens > alone.tokens
    assert served.loss == pytest.approx(alone.loss)
    none = serving_aware(BUDGET, 0)
    assert none.params == pytest.approx(alone.params, rel=1e-3)
    # Least of all sizes of that loss.
    cost = served.flops + 2 * served.params * 1e13
    for factor in (0.7, 0.9, 1.1, 1.4):
        params = served.params * factor
        other = params * (6 * PARAMETRIC.tokens_for(params, alone.loss) + 2e13)
        assert other >= cost * (1 - 1e-9)


def test_known_models_are_judged_and_ordered() -> None:
    rows = judged("rule")
    verdicts = {row["model"]: row["verdict"] for row in rows}
    assert verdicts["GPT-3 175B"] == verdicts["BLOOM 176B"] == "under-trained"
    assert verdicts["Chinchilla 70B"] == verdicts["LLaMA 65B"] == "as the law says"
    assert [row["params"] for row in rows] == sorted((k.params for k in KNOWN), reverse=True)
    names = [row["model"].split()[0] for row in rows]
    order = ["PaLM", "BLOOM", "GPT-3", "LLaMA", "FLAN-T5", "BERT"]
    assert [names.index(name) for name in order] == sorted(names.index(name) for name in order)
