"""Every way of tuning through a whole run: the contract's object, and going on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.train.rows import config, tuned
from tutelage.peft import METHODS

NAMES = METHODS.names()


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = (f for f in folder.glob("*.safetensors"))
    return load_file(file)


@pytest.mark.parametrize("name", NAMES)
def test_stopped_and_gone_on_is_never_stopped(name: str, tmp_path: Path) -> None:
    settings = config(method=name, steps=4)
    whole = tuned(tmp_path / "whole", settings)
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) == 2

    stopped = tuned(tmp_path / "out", settings, deadline=after_two)
    assert stopped["status"] == "stopped" and stopped["steps"] == 2
    found = tuned(tmp_path / "out", settings)
    one, other = tensors(tmp_path / "whole"), tensors(tmp_path / "out")
    assert list(one) == list(other)
    assert all(torch.equal(value, other[path]) for path, value in one.items())
    for key in ("loss", "trained_tokens", "trained_parameters", "settings", "layout"):
        assert found[key] == whole[key]
    _check(whole, name)


def _check(found: dict[str, Any], name: str) -> None:
    assert found["method"] == name and found["trained_parameters"] > 0
    assert found["peak_bytes"] > 0 and found["predicted_peak_bytes"] > 0
    method = METHODS.get(name)
    wanted = ("peft" if method.theirs else "own") if method.adapter else "model"
    assert found["layout"] == wanted
