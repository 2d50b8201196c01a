"""What tuning cost elsewhere is measured on texts that both models have room for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.lifecycle.fakes import FakeClock, FakeLM, FakeModel
from tutelage.evaluate.forgetting import pairs_of, text_scores
from tutelage.lifecycle import forgetting

BENCH: Any = SimpleNamespace(seed=0)


class Strict(FakeLM):
    """Refuses what its context does not hold, as real models do."""

    def score(self, pairs: Any) -> Any:
        for context, text in pairs:
            assert len(context.split()) + len(text.split()) <= (self.model.context or 0)
        return super().score(pairs)


def lm(context: int, tuned: bool = False) -> Strict:
    return Strict(FakeModel(context=context), FakeClock(), tuned=tuned)


def test_a_tuned_model_with_less_room_is_measured_on_what_it_holds() -> None:
    """Virtual tokens take their place of the context."""
    texts = pairs_of([" ".join(["word"] * count) for count in (30, 40, 60)])
    before = text_scores(lm(100), texts).tolist()
    found = forgetting._rise(BENCH, lm(45, tuned=True), texts, before)
    assert found is not None and found["n"] == 2
    assert found["value"] == pytest.approx(0.5)
    assert forgetting._rise(BENCH, lm(5, tuned=True), texts, before) is None
