"""What is taken for exhausted memory, and which setting is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tutelage.errors import MemoryLimitError
from tutelage.machine import memory
from tutelage.train import fit
from tutelage.train.config import TuneConfig


def test_the_room_on_the_processor_is_what_is_available() -> None:
    assert 0 < fit.room("cpu") <= memory.total()


def needed(config: TuneConfig) -> int:
    """Tokens of a part a byte each, half of it with checkpointing, and 100 whatever happens."""
    share = config.batch_tokens // config.micro_batches
    return 100 + (share // 2 if config.checkpointing else share)


def hint(room: int, config: TuneConfig, need: Callable[[TuneConfig], int] = needed) -> str:
    error = fit.too_large(MemoryError("no room\nat all"), config, need, room)
    assert isinstance(error, MemoryLimitError) and error.got == "no room"
    assert error.hint is not None
    return error.hint


@pytest.mark.parametrize(
    ("room", "flags"),
    [
        (1125, "--micro-batches 2 ("),
        (1124, "--micro-batches 4 ("),
        (357, "--micro-batches 8 ("),
        (356, "--micro-batches 8 --checkpointing ("),
        (200, "--micro-batches 8 --checkpointing --batch-tokens 1024 ("),
        (105, "--micro-batches 8 --checkpointing --batch-tokens 64 ("),
    ],
)
def test_the_first_setting_below_what_is_there_is_named(room: int, flags: str) -> None:
    assert f"predicted to fit: {flags}" in hint(room, TuneConfig(batch_tokens=2048))


def test_settings_already_used_are_not_named() -> None:
    config = TuneConfig(batch_tokens=2048, micro_batches=4, checkpointing=True)
    assert "predicted to fit: --micro-batches 8 (" in hint(300, config)
    assert "predicted to fit: --micro-batches 8 --batch-tokens 1024 (" in hint(200, config)


def test_where_nothing_is_predicted_to_fit_it_is_said() -> None:
    said = hint(100, TuneConfig(batch_tokens=2048))
    assert said.startswith("no --micro-batches") and "smaller model" in said
    said = hint(10**9, TuneConfig(batch_tokens=2048), lambda config: 500)
    assert said.startswith("no --micro-batches"), "what needs as much as what failed does not fit"
