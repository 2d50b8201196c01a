"""How settings to choose among are named on the command line, and the best of them printed."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.cli.search import _choices, show
from tutelage.errors import ConfigError


def test_of_a_flag_that_is_given_several_times_each_value_is_a_list() -> None:
    assert _choices(("role=attn.q,attn.q+attn.v", "layer=0+1,3", "rank=4,8", "rslora=true")) == {
        "roles": [["attn.q"], ["attn.q", "attn.v"]],
        "layers": [[0, 1], [3]],
        "rank": [4, 8],
        "rslora": [True],
    }


@pytest.mark.parametrize(
    ("choose", "says"),
    [
        (("rank=4,8", "rank=16"), "named twice"),
        (("role=attn.q", "role=attn.v"), "named twice"),
        (("layer-decay=0.9", "layer_decay=0.8"), "named twice"),
        (("rank=4,8,4",), "4 twice"),
        (("role=attn.q,attn.q",), "attn.q twice"),
        (("rank",), "cannot read"),
        (("rank=",), "cannot read"),
        (("rank=4,,8",), "cannot read"),
        (("role=attn.q+,attn.v",), "cannot read"),
        (("=4",), "cannot read"),
    ],
)
def test_choices_that_cannot_be_read_are_named(choose: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        _choices(choose)
    assert caught.value.field == "--choose" and caught.value.got and caught.value.expected


def test_the_best_is_printed_as_flags_of_tune(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"learning_rate": 0.00123, "roles": ["attn.q", "attn.v"], "rank": 4, "rslora": True}
    trial: dict[str, Any] = {"settings": settings, "loss": 1.0, "steps": 8, "status": "done"}
    show({"method": "lora", "trials": [trial], "best": trial, "at_edge": False})
    first, best = capsys.readouterr().out.splitlines()
    assert "roles=attn.q+attn.v" in first
    assert best == (
        "best: --method lora --learning-rate 0.00123 --role attn.q --role attn.v --rank 4 --rslora"
    )
