"""PaLM, which transformers lacks, against loops over tokens and heads sharing no part with it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from tests.parity.architecture import check_decoding, our_logits, rows_of, whole
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.models.catalogue import find_preset, layout

SMALL = {"num_hidden_layers": 3, "vocab_size": 97}


def small(seed: int = 0) -> Any:
    """A tiny PaLM, its gains away from 1, and its weights by Hugging Face's kind of names."""
    tokenizer = open_checkpoint("preset:palm-tiny").tokenizer
    config = {**find_preset("palm-tiny"), **SMALL}
    checkpoint = random_checkpoint("test", config, tokenizer, seed, {})
    torch.manual_seed(seed)
    values = {}
    for name, reader in checkpoint.weights.items():
        value = reader.load()
        values[name] = value + 0.1 * torch.randn_like(value) if value.ndim == 1 else value
    held = {name: Held(value) for name, value in values.items()}
    return build(replace(checkpoint, weights=held)), values, config


class Held:
    """A weight in memory."""

    dtype = "float32"

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value
        self.shape = tuple(value.shape)

    def load(self) -> torch.Tensor:
        return self.value.clone()


def normed(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    mean = sum(float(v) for v in x) / len(x)
    variance = sum((float(v) - mean) ** 2 for v in x) / len(x)
    return torch.stack([(v - mean) / math.sqrt(variance + 1e-6) for v in x]) * gain


def turned(x: torch.Tensor, position: int) -> torch.Tensor:
    half = len(x) // 2
    found = x.clone()
    for j in range(half):
        angle = position * 10_000 ** (-2 * j / len(x))
        a, b = float(x[j]), float(x[j + half])
        found[j] = a * math.cos(angle) - b * math.sin(angle)
        found[j + half] = b * math.cos(angle) + a * math.sin(angle)
    return found


def naive(values: dict[str, torch.Tensor], config: dict[str, Any], ids: list[int]) -> torch.Tensor:
    """Scores of every token, one token, one head and one layer at a time."""
    heads, width = config["num_attention_heads"], config["head_dim"]
    stream = [values["embed_tokens.weight"][token] for token in ids]
    for layer in range(config["num_hidden_layers"]):
        w = {
            name.removeprefix(f"layers.{layer}."): value
            for name, value in values.items()
            if name.startswith(f"layers.{layer}.")
        }
        inputs = [normed(x, w["norm.weight"]) for x in stream]
        keys = [turned(w["attn.k.weight"] @ x, i) for i, x in enumerate(inputs)]
        contents = [w["attn.v.weight"] @ x for x in inputs]
        after = []
        for i, x in enumerate(inputs):
            queries = (w["attn.q.weight"] @ x).view(heads, width)
            mixed = []
            for head in range(heads):
                query = turned(queries[head], i)
                scores = [float(query @ keys[j]) / math.sqrt(width) for j in range(i + 1)]
                top = max(scores)
                parts = [math.exp(score - top) for score in scores]
                mixed.append(sum(p * contents[j] for j, p in enumerate(parts)) / sum(parts))
            gate = w["mlp.gate.weight"] @ x
            hidden = gate / (1 + torch.exp(-gate)) * (w["mlp.up.weight"] @ x)
            out = w["attn.o.weight"] @ torch.cat(mixed) + w["mlp.down.weight"] @ hidden
            after.append(stream[i] + out)
        stream = after
    last = [normed(x, values["norm.weight"]) for x in stream]
    table = values["embed_tokens.weight"]
    return torch.stack([table @ x for x in last]) / math.sqrt(config["hidden_size"])


def test_logits() -> None:
    for seed in (0, 1):
        ours, values, config = small(seed)
        rows = rows_of((5, 9, 1), seed)
        for row, mine in zip(rows, our_logits(ours, whole(rows)), strict=True):
            assert (mine - naive(values, config, row)).abs().max() < 1e-4


def test_decoding() -> None:
    check_decoding(small(2)[0])


def test_published_counts() -> None:
    """Chowdhery et al. 2022, table 1; its last places follow no one way of rounding."""
    for name, billions in (("palm-8b", 8.63), ("palm-62b", 62.50), ("palm-540b", 540.35)):
        total = sum(weight.count for weight in layout(find_preset(name)))
        assert abs(total / 1e9 - billions) < 0.01
