"""What a pretraining file asks for is looked at before anything is read or learned."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.config import validate
from tutelage.errors import ConfigError
from tutelage.pretrain.config import PretrainConfig


def asked(**data: Any) -> dict[str, Any]:
    train = {"books": "books.txt", "docs": "builtin:stdlib-docs"}
    return {"model": {"depth": 1}, "data": {"train": train, **data}, "training": {"steps": 1}}


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"books": 0.5, "doc": 0.5}, "doc"),
        ({"books": 1.0}, "docs"),
        ({}, "nothing"),
        ({"books": 0.5, "docs": -1.0}, "docs"),
        ({"books": float("nan"), "docs": 1.0}, "books"),
        ({"books": float("inf"), "docs": 1.0}, "books"),
    ],
)
def test_weights_are_those_of_the_training_text(weights: dict[str, float], named: str) -> None:
    validate(PretrainConfig, asked(weights={"docs": 2, "books": 1}))
    with pytest.raises(ConfigError, match=named) as caught:
        validate(PretrainConfig, asked(weights=weights), where="run.toml")
    assert caught.value.field == "run.toml: data"
