"""The LSTM, which transformers lacks, against gates computed one by one."""

from __future__ import annotations

import math
from typing import Any

import torch

from tests.parity.architecture import check_decoding, our_logits, rows_of, whole
from tests.parity.test_palm import Held
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.models.catalogue import find_preset, layout


def small(seed: int = 0) -> Any:
    tokenizer = open_checkpoint("preset:lstm-tiny").tokenizer
    config = {**find_preset("lstm-tiny"), "vocab_size": 97, "hidden_size": 12}
    checkpoint = random_checkpoint("test", config, tokenizer, seed, {})
    torch.manual_seed(seed)
    values = {name: torch.randn(reader.shape) * 0.5 for name, reader in checkpoint.weights.items()}
    object.__setattr__(checkpoint, "weights", {name: Held(v) for name, v in values.items()})
    return build(checkpoint), values


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def layer(values: dict[str, torch.Tensor], at: int, inputs: list[list[float]]) -> list[list[float]]:
    w = {n.removeprefix(f"layers.{at}."): v for n, v in values.items() if f"layers.{at}." in n}
    size = len(inputs[0])
    h, c = [0.0] * size, [0.0] * size
    found = []
    for x in inputs:
        sums = []
        for row in range(4 * size):
            total = float(w["bias_ih_l0"][row] + w["bias_hh_l0"][row])
            for column in range(size):
                total += float(w["weight_ih_l0"][row, column]) * x[column]
                total += float(w["weight_hh_l0"][row, column]) * h[column]
            sums.append(total)
        for unit in range(size):
            come, stay = sigmoid(sums[unit]), sigmoid(sums[size + unit])
            new, show = math.tanh(sums[2 * size + unit]), sigmoid(sums[3 * size + unit])
            c[unit] = stay * c[unit] + come * new
            sums[unit] = show * math.tanh(c[unit])
        h = sums[:size]
        found.append(list(h))
    return found


def test_logits() -> None:
    ours, values = small()
    rows = rows_of((4, 7, 1))
    table = values["embed_tokens.weight"]
    for row, mine in zip(rows, our_logits(ours, whole(rows)), strict=True):
        stream = [table[token].tolist() for token in row]
        for at in range(2):
            stream = layer(values, at, stream)
        expected = torch.tensor(stream) @ table.t()
        assert (mine - expected).abs().max() < 1e-4


def test_decoding() -> None:
    check_decoding(small(1)[0])


def test_counts() -> None:
    """Two layers of 4 C (C + C) and 8 C, and the table."""
    total = sum(weight.count for weight in layout(find_preset("lstm-medium")))
    assert total == 10_000 * 650 + 2 * (8 * 650 * 650 + 8 * 650)
