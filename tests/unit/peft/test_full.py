"""Full tuning: every weight trained as a float32 master, no settings of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.parity.packed import our_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError
from tutelage.models.catalogue import layout
from tutelage.peft import full
from tutelage.peft._method import flag, settings_of


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_weight_is_a_float32_master_and_learns(tied: bool, dtype: str) -> None:
    checkpoint = checkpoint_of(their_llama(tie_word_embeddings=tied))
    model = build(checkpoint, dtype)
    compute = model.compute
    settings = attached("full", model, checkpoint)
    assert model.compute == compute
    our_loss(model, examples_of(9)).total.backward()
    parameters = dict(model.named_parameters())
    assert all(p.dtype == torch.float32 for p in parameters.values())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in parameters.values())
    trained = sum(p.numel() for p in parameters.values())
    assert trained == full.count(layout(checkpoint.config), settings)


@pytest.mark.parametrize("setting", [{"rank": 4}, {"alpha": 2.0}, {"roles": ("attn.q",)}])
def test_settings_of_adapters_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="full has no --") as caught:
        settings_of(full.METHOD, setting)
    assert caught.value.field == flag(next(iter(setting)))
