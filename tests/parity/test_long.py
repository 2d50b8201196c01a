"""Attention for long rows, which transformers lacks, against loops over tokens and heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.parity.architecture import check_decoding, our_logits, rows_of, whole
from tests.parity.test_palm import Held
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.preset import random_checkpoint
from tutelage.models.catalogue import find_preset

Values = dict[str, torch.Tensor]
Mix = Callable[[Values, dict[str, Any], list[torch.Tensor]], list[torch.Tensor]]


def small(name: str, seed: int = 0, **changes: Any) -> Any:
    tokenizer = open_checkpoint(f"preset:{name}").tokenizer
    config = {**find_preset(name), "vocab_size": 97, "hidden_size": 16, **changes}
    checkpoint = random_checkpoint("test", config, tokenizer, seed, {})
    torch.manual_seed(seed)
    values = {
        key: torch.randn(reader.shape) * (0.3 if len(reader.shape) > 1 else 0.1)
        + ("norm" in key and key.endswith("weight"))
        for key, reader in checkpoint.weights.items()
    }
    object.__setattr__(checkpoint, "weights", {key: Held(v) for key, v in values.items()})
    return build(checkpoint), values, config


def normed(x: torch.Tensor, w: Values, name: str) -> torch.Tensor:
    centred = x - x.mean()
    return (
        centred / torch.sqrt((centred**2).mean() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]
    )


def gelu(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def naive(values: Values, config: dict[str, Any], ids: list[int], mix: Mix) -> torch.Tensor:
    stream = [values["embed.tokens.weight"][token] for token in ids]
    if "embed.positions.weight" in values:
        stream = [x + values["embed.positions.weight"][i] for i, x in enumerate(stream)]
    for layer in range(config["num_hidden_layers"]):
        start = f"blocks.{layer}."
        w = {n.removeprefix(start): v for n, v in values.items() if n.startswith(start)}
        mixed = mix(w, config, [normed(x, w, "norm_attn") for x in stream])
        stream = [x + w["attn.o.weight"] @ y for x, y in zip(stream, mixed, strict=True)]
        for i, x in enumerate(stream):
            hidden = gelu(w["mlp.up.weight"] @ normed(x, w, "norm_mlp") + w["mlp.up.bias"])
            stream[i] = x + w["mlp.down.weight"] @ hidden + w["mlp.down.bias"]
    last = [normed(x, values, "norm") for x in stream]
    return torch.stack([values["embed.tokens.weight"] @ x for x in last])


def heads_of(w: Values, name: str, x: torch.Tensor, heads: int) -> torch.Tensor:
    return (w[f"attn.{name}.weight"] @ x).view(heads, -1)


def softmax_mix(sees: Callable[[int, int], bool]) -> Mix:
    def mix(w: Values, config: dict[str, Any], xs: list[torch.Tensor]) -> list[torch.Tensor]:
        count = config["num_attention_heads"]
        q, k, v = ([heads_of(w, n, x, count) for x in xs] for n in "qkv")
        found = []
        for i in range(len(xs)):
            seen = [j for j in range(i + 1) if sees(i, j)]
            out = []
            for h in range(count):
                scores = [float(q[i][h] @ k[j][h]) / math.sqrt(len(q[i][h])) for j in seen]
                shares = [math.exp(s - max(scores)) for s in scores]
                out.append(
                    sum(p * v[j][h] for p, j in zip(shares, seen, strict=True)) / sum(shares)
                )
            found.append(torch.cat(out))
        return found

    return mix


def linear_mix(w: Values, config: dict[str, Any], xs: list[torch.Tensor]) -> list[torch.Tensor]:
    count = config["num_attention_heads"]

    def phi(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x + 1, torch.exp(x))

    q, k, v = ([heads_of(w, n, x, count) for x in xs] for n in "qkv")
    found = []
    for i in range(len(xs)):
        out = []
        for h in range(count):
            shares = [float(phi(q[i][h]) @ phi(k[j][h])) for j in range(i + 1)]
            out.append(sum(p * v[j][h] for j, p in enumerate(shares)) / sum(shares))
        found.append(torch.cat(out))
    return found


def segment_mix(w: Values, config: dict[str, Any], xs: list[torch.Tensor]) -> list[torch.Tensor]:
    count, size, width = config["num_attention_heads"], config["segment"], config["hidden_size"]
    q, k, v = ([heads_of(w, n, x, count) for x in xs] for n in "qkv")
    found = []
    for i in range(len(xs)):
        seen = range(max(0, i // size * size - size), i + 1)
        out = []
        for h in range(count):
            scores = []
            for j in seen:
                wave = torch.zeros(width)
                for part in range(0, width, 2):
                    turn = (i - j) * 10_000 ** (-part / width)
                    wave[part], wave[part + 1] = math.sin(turn), math.cos(turn)
                r = heads_of(w, "r", wave, count)[h]
                content = (q[i][h] + w["attn.content_bias"][h]) @ k[j][h]
                place = (q[i][h] + w["attn.position_bias"][h]) @ r
                scores.append(float(content + place) / math.sqrt(len(q[i][h])))
            shares = [math.exp(s - max(scores)) for s in scores]
            out.append(sum(p * v[j][h] for p, j in zip(shares, seen, strict=True)) / sum(shares))
        found.append(torch.cat(out))
    return found


def block_sees(size: int) -> Callable[[int, int], bool]:
    def sees(i: int, j: int) -> bool:
        mine, theirs = i // size, j // size
        drawn = (mine * 2654435761 + 40503) % 2**32 // 65536 % max(mine, 1)
        return abs(mine - theirs) <= 1 or theirs < 1 or mine < 1 or theirs == drawn

    return sees


def cluster_mix(w: Values, config: dict[str, Any], xs: list[torch.Tensor]) -> list[torch.Tensor]:
    """One token at a time: its bucket in each round, the last of that bucket, rounds by weight."""
    count, most, rounds = config["num_attention_heads"], config["most"], config["rounds"]
    q, v = ([heads_of(w, n, x, count) for x in xs] for n in "qv")
    width = config["hidden_size"] // count
    generator = torch.Generator().manual_seed(config["layer_seed"])
    turns = torch.randn(count, rounds, width, config["num_buckets"] // 2, generator=generator)
    config["layer_seed"] += 1
    found = []
    for i in range(len(xs)):
        out = []
        for h in range(count):
            top, bottom = torch.zeros(width), 0.0
            for r in range(rounds):
                buckets = []
                for j in range(i + 1):
                    turned = q[j][h] @ turns[h, r]
                    buckets.append(int(torch.cat([turned, -turned]).argmax()))
                same = [j for j in range(i + 1) if buckets[j] == buckets[i]][-most:]
                scores = [
                    float(q[i][h] @ (q[j][h] / q[j][h].norm())) / math.sqrt(width) for j in same
                ]
                scores = [s - 1e5 * (j == i) for s, j in zip(scores, same, strict=True)]
                # The sum over all rounds' keys, each with weight e^score.
                for s, j in zip(scores, same, strict=True):
                    if len(same) > 1 or rounds == 1:
                        top, bottom = top + math.exp(s) * v[j][h], bottom + math.exp(s)
            out.append(v[i][h] if bottom == 0 else top / bottom)
        found.append(torch.cat(out))
    return found


CASES: dict[str, tuple[str, dict[str, Any], Mix]] = {
    "window": ("window-tiny", {"reach": 5}, softmax_mix(lambda i, j: i - j < 5)),
    "strided": (
        "strided-tiny", {"reach": 4}, softmax_mix(lambda i, j: i - j < 4 or (i - j) % 4 == 0),
    ),
    "blocks": ("blocks-tiny", {"reach": 3}, softmax_mix(block_sees(3))),
    "linear": ("linear-tiny", {}, linear_mix),
    "clusters": (
        "reformer-tiny", {"num_buckets": 4, "most": 3, "rounds": 2, "layer_seed": 0}, cluster_mix,
    ),
    "segments": ("transformer-xl-tiny", {"segment": 4}, segment_mix),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_logits(name: str) -> None:
    preset, changes, mix = CASES[name]
    ours, values, config = small(preset, **changes)
    rows = rows_of((5, 21, 1))
    for row, mine in zip(rows, our_logits(ours, whole(rows)), strict=True):
        expected = naive(values, dict(config), row, mix)
        assert (mine - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", CASES)
def test_decoding(name: str) -> None:
    preset, changes, _ = CASES[name]
    check_decoding(small(preset, 1, **changes)[0])


def test_linear_attention_over_several_chunks() -> None:
    ours, values, config = small("linear-tiny", 2, num_hidden_layers=1)
    row = rows_of([150])[0]
    mine = our_logits(ours, whole([row]))[0]
    assert (mine - naive(values, config, row, linear_mix)).abs().max() < 1e-4


def test_a_segment_gives_no_gradient_to_the_last() -> None:
    """Without the output of the second segment the first is trained; from it alone it is not."""
    ours, _, _ = small("transformer-xl-tiny", 3, segment=4, num_hidden_layers=1)
    attention = ours.blocks[0].attn
    x = torch.randn(1, 8, 16, requires_grad=True)
    y, _ = attention.step(x, torch.tensor([8]), None)
    (gradient,) = torch.autograd.grad(y[:, 4:].sum(), x)
    assert (gradient[:, :4] == 0).all() and (gradient[:, 4:] != 0).any()
