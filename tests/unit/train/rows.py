"""Small rows to tune preset:llama-tiny on, and what is compared of a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.data.rows import Row
from tutelage.lm import Message
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

SOURCE = "preset:llama-tiny"
WORDS = ["red", "green", "blue", "grey", "pink", "gold", "teal", "lime", "navy", "plum"]


def rows_of(count: int = 12) -> list[Row]:
    """Say a colour backwards."""
    return [
        Row(
            id=f"row-{i}",
            where=f"rows.jsonl:{i + 1}",
            messages=(Message("user", f"Backwards: {word * (1 + i // len(WORDS))}"),),
            completion=word[::-1],
        )
        for i, word in enumerate((WORDS * 9)[:count])
    ]


def config(**changes: Any) -> TuneConfig:
    """Six steps of some three rows, everything on one thread."""
    settings: dict[str, Any] = {"batch_tokens": 160, "steps": 6}
    return TuneConfig(**{**settings, **changes})


def tuned(out: Path, settings: TuneConfig | None = None, **how: Any) -> dict[str, Any]:
    where = {"device": "cpu", "dtype": "fp32", "threads": 1}
    return tune(SOURCE, rows_of(), settings or config(), out, **{**where, **how})


def weights_of(out: Path) -> dict[str, bytes]:
    """The bytes of every file that holds weights."""
    found = {p.name: p.read_bytes() for p in sorted(out.glob("*.safetensors"))}
    assert found, f"no weights in {out}"
    return found


class After:
    """A deadline that comes after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0
