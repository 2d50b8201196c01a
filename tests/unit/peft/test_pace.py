"""Layers that learn at their own pace: their rates, when they join, and that a run resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.tuned import resolved
from tests.unit.train.rows import config, tuned
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import ConfigError
from tutelage.models.catalogue import find_preset, layout
from tutelage.peft import METHODS
from tutelage.peft._pace import Pace
from tutelage.train.optimizer import adamw, at_pace

TINY = find_preset("llama-tiny")


def paces(method: str, **options: Any) -> dict[str, Pace]:
    found: dict[str, Pace] = METHODS.get(method).paces(
        resolved(method, TINY, **options), layout(TINY)
    )
    return found


def test_rates_fall_layer_by_layer() -> None:
    found = paces("full", layer_decay=0.5)
    assert found["embed.tokens.weight"].scale == 0.25  # below both layers
    assert found["blocks.0.attn.q.weight"].scale == 0.5
    assert found["blocks.1.mlp.down.weight"].scale == found["norm.weight"].scale == 1
    assert {pace.start for pace in found.values()} == {0}
    assert set(found) == {weight.path for weight in layout(TINY)}


def test_layers_join_from_the_last_down() -> None:
    found = paces("full", unfreeze=0.6)
    assert found["norm.weight"].start == found["blocks.1.attn.o.weight"].start == 0
    assert found["blocks.0.attn.o.weight"].start == pytest.approx(0.2)
    assert found["embed.tokens.weight"].start == pytest.approx(0.4)
    assert set(paces("last-layers", unfreeze=0.5, last=1)) == {
        w.path for w in layout(TINY) if w.layer == 1 or w.path == "norm.weight"
    }
    assert paces("full") == {}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layer_decay": 0.0}, "--layer-decay"),
        ({"layer_decay": 1.5}, "--layer-decay"),
        ({"unfreeze": -0.1}, "--unfreeze"),
        ({"unfreeze": 1.0}, "--unfreeze"),
    ],
)
@pytest.mark.parametrize("method", ["full", "last-layers"])
def test_a_pace_that_is_none_is_refused(method: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        paces(method, **options)
    assert caught.value.field == field


def test_groups_have_their_rate_and_their_time() -> None:
    slow, late = (torch.nn.Parameter(torch.zeros(2)) for _ in range(2))
    other = torch.nn.Parameter(torch.zeros(2))
    named = {"slow": slow, "late": late, "other": other}
    optimizer = adamw(named, 0.1, {"slow": (0.5, 0.0), "late": (1.0, 0.4)})
    for share, trains in ((0.0, False), (0.39, False), (0.4, True), (1.0, True)):
        at_pace(optimizer, 0.2, share)
        rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
        assert [rates[id(p)] for p in (slow, late, other)] == [0.1, 0.2, 0.2]
        assert late.requires_grad is trains and slow.requires_grad and other.requires_grad


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: w.load() for name, w in open_checkpoint(str(folder)).weights.items()}


def test_what_has_not_joined_has_not_moved(tmp_path: Path) -> None:
    """Six steps over which layers join until the end: the table is trained in the last two."""
    options = {"unfreeze": 0.99}
    tuned(tmp_path / "out", config(method="full", options=options))
    stopped = {"n": 0}

    def after_four() -> bool:
        stopped["n"] += 1
        return stopped["n"] == 4

    tuned(tmp_path / "resumed", config(method="full", options=options), deadline=after_four)
    from safetensors.torch import load_file

    (kept,) = (tmp_path / "resumed.state").glob("step-*/weights.safetensors")
    base = weights_of_base()
    halfway = load_file(kept)
    assert torch.equal(halfway["embed.tokens.weight"], base["model.embed_tokens.weight"].float())
    assert not torch.equal(halfway["norm.weight"], base["model.norm.weight"].float())
    tuned(tmp_path / "resumed", config(method="full", options=options))
    whole, resumed = weights(tmp_path / "out"), weights(tmp_path / "resumed")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert not torch.equal(whole["model.embed_tokens.weight"], base["model.embed_tokens.weight"])


def weights_of_base() -> dict[str, torch.Tensor]:
    from tests.unit.train.rows import SOURCE

    return {name: w.load() for name, w in open_checkpoint(SOURCE, seed=0).weights.items()}
