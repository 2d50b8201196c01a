"""What a tuning method must offer; `lora.py` and `full.py` show the two kinds there are now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.config import Frozen
from tutelage.models.spec import Weight


class Settings(Frozen):
    """What a method may be told; each method reads its own part and refuses the rest."""

    rank: int | None = None
    alpha: float | None = None
    roles: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Method:
    """One way of tuning.

    `resolve` fills in defaults and refuses what does not fit the model (ConfigError);
    `attach` makes the model trainable in this way, deterministically in the seed;
    `count` is the number of trained parameters, from the layout alone;
    `write` puts what was trained into a folder in the field's own layout;
    `adapter` tells whether that is an adapter (needs its base) or a whole model.
    """

    name: str
    adapter: bool
    learning_rate: float
    resolve: Callable[[Settings, Sequence[Weight]], Settings]
    attach: Callable[[Any, Settings, int], None]
    count: Callable[[Sequence[Weight], Settings], int]
    write: Callable[[Any, Any, Settings, Path], None]
