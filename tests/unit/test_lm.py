"""What can be asked of any model: a request that can never be right is not made."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tutelage.errors import ConfigError
from tutelage.lm import Request, Sampling


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_k", -3),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", math.nan),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_way_to_choose_tokens_that_cannot_be_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Sampling(**{field: value})
    error = caught.value
    assert error.field == field and error.got == str(value)
    assert error.message == f"{field} must be {error.expected}"


@pytest.mark.parametrize(
    ("field", "value"), [("max_new_tokens", 0), ("max_new_tokens", -1), ("stop", ("a", ""))]
)
def test_a_request_that_cannot_be_answered_is_named(field: str, value: Any) -> None:
    for make in (
        lambda: Request("x", **{field: value}),
        lambda: replace(Request("x"), **{field: value}),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.field == field


def test_the_ends_of_every_range_are_within_it() -> None:
    Sampling(0.0, 1, 1.0, 0)
    Sampling(2.0, 10**9, 1e-9, 2**63 - 1)
    Request("", 1, stop=("a",))
