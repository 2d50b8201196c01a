"""What a pretraining file asks for is looked at before anything is read or learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage.config import validate
from tutelage.errors import ConfigError, RequestError
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import pretrain


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


@pytest.mark.parametrize("inside", ["", "further/down"])
def test_a_file_in_the_place_of_the_runs_folder_is_named_and_kept(
    inside: str, tmp_path: Path
) -> None:
    taken = tmp_path / "notes.txt"
    taken.write_text("mine")
    with pytest.raises(RequestError, match=r"notes\.txt") as caught:
        pretrain(validate(PretrainConfig, asked()), taken / inside, device="cpu", threads=1)
    assert caught.value.field == "--out"
    assert taken.read_text() == "mine"
