"""The peer trains: right padding, an attention mask, labels of -100 wherever nothing is learned.

PyTorch's fused AdamW, gradients clipped at 1 as `Trainer` does, no key-value cache.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import Measurement
from peer import DTYPES, Adapter, Setting, open_model, start

if TYPE_CHECKING:
    from tutelage.data.pack import Example

WARM_UP = 2
"""Batches trained on before the clock starts."""


def settings(batches: Sequence[int]) -> list[Setting]:
    """float32 and bfloat16 x length-sorted and random batches x batch sizes."""
    return [Setting(*one) for one in product(DTYPES, batches, (True, False))]


def train(
    folder: Path, examples: Sequence[Example], setting: Setting, adapter: Adapter | None,
    learning_rate: float, threads: int,
) -> Measurement:  # fmt: skip
    """Trained tokens a second over all examples once, after a few batches that are not counted."""
    import peft  # noqa: F401
    import torch

    before, peak = start(threads)
    with peak:
        model = open_model(folder, setting, adapter).train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0, fused=True)
        batches = _batches(examples, setting)
        losses, begun = [], 0.0
        for number, batch in enumerate([*batches[:WARM_UP], *batches]):
            if number == min(WARM_UP, len(batches)):
                begun = time.perf_counter()
            loss = model(**_padded(batch), use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
        seconds = time.perf_counter() - begun
    tokens = sum(example.trained for example in examples)
    detail = {
        "setting": str(setting),
        "seconds": seconds,
        "updates": len(batches),
        "trained_tokens": tokens,
        "trained_parameters": sum(p.numel() for p in trained),
        "loss": {"first": losses[0], "last": losses[-1]},
    }
    return Measurement(tokens / seconds, peak.bytes - before, setting.dtype, detail)


def _batches(examples: Sequence[Example], setting: Setting) -> list[list[Example]]:
    """All examples, in batches visited in random order (as `Trainer` groups by length)."""
    shuffle = random.Random(0).shuffle
    rows = list(examples)
    shuffle(rows)
    if setting.ordered:
        rows.sort(key=lambda example: example.inputs)
    found = [rows[i : i + setting.batch] for i in range(0, len(rows), setting.batch)]
    shuffle(found)
    return found


def _padded(batch: Sequence[Example]) -> dict[str, Any]:
    """Padded on the right; only the completion has labels."""
    import torch

    width = max(example.inputs for example in batch) + 1
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(batch):
        whole = torch.tensor((*example.ids, example.labels[-1]))
        ids[row, : len(whole)] = whole
        mask[row, : len(whole)] = 1
        labels[row, torch.tensor(example.at) + 1] = torch.tensor(example.labels)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
