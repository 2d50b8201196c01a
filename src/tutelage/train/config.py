"""What a tuning run may be told, and what it is resolved to."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tutelage.config import Frozen
from tutelage.errors import ConfigError


def refuse_fp16(dtype: str | None) -> None:
    """Raises ConfigError for a number format that nothing can be tuned in."""
    if dtype == "fp16":
        raise ConfigError(
            "tuning in fp16 needs loss scaling, which `pretrain` alone has",
            field="--dtype",
            got="fp16",
            expected="bf16 or fp32",
        )


NATS = "nats per token"
"""What the loss of answers in words counts; a head has a unit of its own."""
BATCH_TOKENS = 1024
"""Of an update that learns answers in words."""


class TuneConfig(Frozen):
    """One tuning run. None means the method's own default; `resolve` puts it in."""

    method: str = "lora"
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of the method's own, as its schema in `peft/` has them: those given, once resolved
    all of them."""
    learning_rate: float | None = Field(None, gt=0, lt=1)
    """Peak of the schedule: 5% warm-up, cosine down to a tenth."""
    epochs: float = Field(1.0, gt=0)
    steps: int | None = Field(None, ge=1)
    """Instead of epochs."""
    batch_tokens: int | None = Field(None, ge=16)
    """Tokens of one update, a prefix that all rows share counted once; BATCH_TOKENS, or what the
    head asks for."""
    micro_batches: int = Field(1, ge=1)
    """Cut each update into this many packs: less memory, the same mathematics."""
    checkpointing: bool = False
    """Keep only each block's input and compute the rest twice: less memory, a third more time."""
    save_seconds: float = Field(60.0, gt=0)
    """Time between checkpoints of the unfinished run."""
    new_tokens: tuple[str, ...] = ()
    """Words that become tokens, with rows of their own that are learned."""
    head: str | None = None
    """A task's head to put on the model, by its name in `heads/`; one that the model has already
    is trained on."""
    head_rate: float | None = Field(None, gt=0, lt=1)
    """Peak of the schedule of the head's own weights."""
    pull: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Strength with which weights are pulled to what they were (L2-SP); a learning rate of 1e-4
    times a strength of 100 takes back a hundredth of the way in each step."""
    interpolate: float = Field(1.0, gt=0, le=1)
    """Share of the way from the start to the end at which the weights are left (WiSE-FT)."""
    seed: int = 0
