"""The Transformer of 2017, which transformers has not, against loops over tokens and heads.

The witness below reads a checkpoint's weights by their names and shares no part with the package.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from tests.parity.architecture import TOLERANCE, rows_of
from tests.parity.pairs import greedy, our_logits
from tests.parity.test_generation import answers
from tutelage.checkpoints.build import build, hf_state
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import ConfigError
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.models.catalogue import find_preset, layout, spec_for
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import forward
from tutelage.objectives import clm
from tutelage.plan.parameters import total

SOURCES, TARGETS = (7, 1, 20, 12), (5, 9, 1, 14)
HEADS = 4
Weights = Mapping[str, Tensor]


def witness(weights: Weights, source: Sequence[int], target: Sequence[int]) -> Tensor:
    """Scores after every token of the target."""
    memory = stack(weights, "model.encoder", source, None)
    vectors = stack(weights, "model.decoder", target, memory)
    return torch.stack([weights["model.shared.weight"] @ x for x in vectors])


def stack(
    weights: Weights, name: str, ids: Sequence[int], memory: list[Tensor] | None
) -> list[Tensor]:
    table = weights["model.shared.weight"]
    width = table.shape[1]
    x = [table[id] * math.sqrt(width) + sinusoid(place, width) for place, id in enumerate(ids)]
    layer = 0
    while f"{name}.layers.{layer}.fc1.weight" in weights:
        here = f"{name}.layers.{layer}"
        seen = [x if memory is None else x[: place + 1] for place in range(len(x))]
        mixed = [attention(weights, f"{here}.self_attn", x[i], seen[i]) for i in range(len(x))]
        x = [
            norm(weights, f"{here}.self_attn_layer_norm", a + b)
            for a, b in zip(x, mixed, strict=True)
        ]
        if memory is not None:
            mixed = [attention(weights, f"{here}.encoder_attn", one, memory) for one in x]
            x = [
                norm(weights, f"{here}.encoder_attn_layer_norm", a + b)
                for a, b in zip(x, mixed, strict=True)
            ]
        made = [network(weights, here, one) for one in x]
        x = [norm(weights, f"{here}.final_layer_norm", a + b) for a, b in zip(x, made, strict=True)]
        layer += 1
    return x


def sinusoid(place: int, width: int) -> Tensor:
    found = []
    for i in range(width):
        angle = place / 10_000 ** (2 * (i // 2) / width)
        found.append(math.cos(angle) if i % 2 else math.sin(angle))
    return torch.tensor(found)


def attention(weights: Weights, name: str, asks: Tensor, seen: list[Tensor]) -> Tensor:
    """One token's attention: head by head, key by key."""
    q = weights[f"{name}.q_proj.weight"] @ asks
    keys = [weights[f"{name}.k_proj.weight"] @ one for one in seen]
    values = [weights[f"{name}.v_proj.weight"] @ one for one in seen]
    size = len(q) // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = [float(q[part] @ key[part]) / math.sqrt(size) for key in keys]
        powers = [math.exp(score - max(scores)) for score in scores]
        shares = [power / sum(powers) for power in powers]
        heads.append(sum(share * value[part] for share, value in zip(shares, values, strict=True)))
    return weights[f"{name}.out_proj.weight"] @ torch.cat(heads)  # type: ignore[arg-type]


def norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    mean = sum(map(float, x)) / len(x)
    variance = sum((float(value) - mean) ** 2 for value in x) / len(x)
    scaled = (x - mean) / math.sqrt(variance + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def network(weights: Weights, name: str, x: Tensor) -> Tensor:
    inner = weights[f"{name}.fc1.weight"] @ x + weights[f"{name}.fc1.bias"]
    inner = torch.tensor([max(float(value), 0.0) for value in inner])
    return weights[f"{name}.fc2.weight"] @ inner + weights[f"{name}.fc2.bias"]


@pytest.fixture
def pair() -> tuple[Weights, EncoderDecoder]:
    """Weights by name, norms and biases away from 1 and 0, and our model of them."""
    checkpoint = open_checkpoint("preset:transformer-tiny", seed=3)
    model = build(checkpoint)
    torch.manual_seed(4)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return hf_state(model, checkpoint), model


def test_scores_equal_the_loops(pair: tuple[Weights, EncoderDecoder]) -> None:
    weights, ours = pair
    sources, targets = rows_of(SOURCES), rows_of(TARGETS, seed=5)
    with torch.inference_mode():
        got = our_logits(ours, sources, targets)
    for source, target, mine in zip(sources, targets, got, strict=True):
        assert (mine - witness(weights, source, target)).abs().max() < TOLERANCE


def test_gradients_equal_differences_of_the_loops(pair: tuple[Weights, EncoderDecoder]) -> None:
    """In every matrix the gradient along one random direction, by a central difference in the
    witness in float64."""
    weights, ours = pair
    source, target = rows_of([6], seed=1)[0], rows_of([5], seed=2)[0]
    ours.requires_grad_(True)
    example = Example.pair(source, target, ours.start)
    plan = pack([example])
    labels, ones = map(torch.from_numpy, (plan.labels, plan.weights))
    clm.loss(ours, forward(ours, plan, memory_of([example])), labels, ones).total.backward()
    own = dict(ours.named_parameters())
    torch.set_default_dtype(torch.float64)
    try:
        wide = {name: value.detach().double() for name, value in weights.items()}
        torch.manual_seed(0)
        for weight in layout(find_preset("transformer-tiny")):
            turn = torch.randn(weight.shape)
            ends = []
            for step in (1e-5, -1e-5):
                moved = {**wide, weight.hf_name: wide[weight.hf_name] + step * turn}
                scores = witness(moved, source, example.ids)
                ends.append(torch.nn.functional.cross_entropy(scores, labels, reduction="sum"))
            slope = float(ends[0] - ends[1]) / 2e-5
            grad = own[weight.path].grad
            assert grad is not None
            found = float((grad.double() * turn).sum())
            assert found == pytest.approx(slope, rel=1e-3, abs=1e-3), weight.path
    finally:
        torch.set_default_dtype(torch.float32)


def test_decoding(pair: tuple[Weights, EncoderDecoder], decoding: str) -> None:
    _, ours = pair
    sources = rows_of((7, 1, 20, 12, 3), seed=3)
    wanted = [(greedy(ours, source, 8), "length") for source in sources]
    jobs = [Job(tuple(source), 8, frozenset()) for source in sources]
    for engine in (Engine(ours), Engine(ours, slots=2), Engine(ours, exact=True)):
        assert answers(engine, jobs) == wanted


def test_counts() -> None:
    """Table 3 says 65M and 213M. By hand: V C + N (4 C^2 + 2 C F + F + C + 4 C) for the encoder and
    N (8 C^2 + 2 C F + F + C + 6 C) for the decoder."""
    for name, published in (("transformer-base", 65e6), ("transformer-big", 213e6)):
        config = find_preset(name)
        wide, hidden, vocabulary = config["d_model"], config["d_ff"], config["vocab_size"]
        network = 2 * wide * hidden + hidden + wide
        layers = (4 * wide**2 + network + 4 * wide) + (8 * wide**2 + network + 6 * wide)
        assert total(layout(config)) == vocabulary * wide + 6 * layers
        assert total(layout(config)) == pytest.approx(published, rel=0.031)
    checkpoint = open_checkpoint("preset:transformer-tiny")
    built = sum(p.numel() for p in build(checkpoint).parameters())
    assert built == total(layout(checkpoint.config))
    assert spec_for(checkpoint.config).family == "encoder-decoder"


@pytest.mark.parametrize(("field", "value"), [("num_heads", 5), ("tie_word_embeddings", False)])
def test_what_is_not_honoured_is_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError) as caught:
        layout({**find_preset("transformer-tiny"), field: value})
    assert caught.value.field == field
