"""A run that ran out of memory: a setting that would fit.

Settings are walked from the cheapest in time to the dearest, each kept as the next is added, and
the first that is predicted to fit is named. Knows the settings and their flags; what each needs is
handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from tutelage.errors import MemoryLimitError
from tutelage.machine.memory import available
from tutelage.train.config import TuneConfig

MICRO_BATCHES = (2, 4, 8)
FEWEST_TOKENS = 64
Needed = Callable[[TuneConfig], int]


def room(device: str) -> int:
    """Bytes that a run on this device may still take."""
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else available()


def too_large(
    error: BaseException, config: TuneConfig, needed: Needed, room: int
) -> MemoryLimitError:
    """The error to raise. `needed(config)` predicts the bytes a run adds; `room` was there for it
    before it began."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return MemoryLimitError(
        "the run does not fit in memory", got=first, hint=_hint(config, needed, room)
    )


def _hint(config: TuneConfig, needed: Needed, room: int) -> str:
    # Where even the failed settings are predicted to fit, a limit that is not seen from here was
    # met: only what needs less than they do can be meant to fit.
    limit = min(room, needed(config))
    for flags, changed in _smaller(config):
        bytes_ = needed(changed)
        if bytes_ < limit:
            return f"predicted to fit: {flags} ({_text(bytes_)} of {_text(room)})"
    return (
        f"no --micro-batches, --checkpointing or --batch-tokens is predicted to fit in "
        f"{_text(room)}; free memory, or take a smaller model, shorter rows or a method that "
        "trains fewer weights"
    )


def _smaller(config: TuneConfig) -> Iterator[tuple[str, TuneConfig]]:
    """Flags and settings, each keeping what came before it."""
    flags: dict[str, str] = {}

    def changed(flag: str, value: str, **update: int | bool) -> tuple[str, TuneConfig]:
        nonlocal config
        flags[flag] = value
        config = config.model_copy(update=update)
        return " ".join(f"{name} {value}".strip() for name, value in flags.items()), config

    for parts in MICRO_BATCHES:
        if parts > config.micro_batches:
            yield changed("--micro-batches", str(parts), micro_batches=parts)
    if not config.checkpointing:
        yield changed("--checkpointing", "", checkpointing=True)
    assert config.batch_tokens is not None, "resolved"
    tokens = config.batch_tokens // 2
    while tokens >= FEWEST_TOKENS:
        yield changed("--batch-tokens", str(tokens), batch_tokens=tokens)
        tokens //= 2


def _text(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
