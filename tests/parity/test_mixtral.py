"""Mixtral equals transformers' model as its file holds it, and its routing a batch by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

from tests.parity.architecture import check_decoding, check_logits, rows_of, whole
from tests.parity.witness import Held
from tutelage.checkpoints.build import build, hf_state
from tutelage.data.pack import pack
from tutelage.models.forward import forward
from tutelage.nn.attention import Pass
from tutelage.nn.moe import CrowdedExperts, places, route
from tutelage.nn.packed import Layout, PackedAttention

SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 5,
    "num_experts_per_tok": 2, "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip


class Stored:
    """What `build` needs of a checkpoint, around the files transformers wrote."""

    source = "test"
    identity: ClassVar[dict[str, Any]] = {}

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        found = load_file(folder / "model.safetensors")
        self.weights = {name: Held(value) for name, value in found.items()}


def twins(tmp_path: Path, seed: int, **changes: Any) -> Any:
    torch.manual_seed(seed)
    config = MixtralConfig(**{**SMALL, **changes}, architectures=["MixtralForCausalLM"])
    theirs = MixtralForCausalLM(config).float().eval()
    theirs.save_pretrained(tmp_path)
    stored: Any = Stored(tmp_path)
    return theirs, build(stored), stored


@pytest.mark.parametrize("changes", [{}, {"num_experts_per_tok": 1}, {"sliding_window": 4}])
def test_logits_and_decoding(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours, stored = twins(tmp_path, 0, **changes)
    check_logits(theirs, ours)
    check_decoding(ours)
    state = hf_state(ours, stored)
    assert state.keys() == stored.weights.keys()
    assert all(torch.equal(value, stored.weights[name].tensor) for name, value in state.items())
    saved = tmp_path / "ours"
    theirs.config.save_pretrained(saved)
    copies = {name: value.detach().clone().contiguous() for name, value in state.items()}
    save_file(copies, saved / "model.safetensors", {"format": "pt"})
    again, report = MixtralForCausalLM.from_pretrained(saved, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    check_logits(again.eval(), ours)


def test_gradients(tmp_path: Path) -> None:
    """Of one loss, the balance of experts included as transformers counts it."""
    theirs, ours, _ = twins(tmp_path, 1, num_hidden_layers=1)
    row = rows_of([17])[0]
    found = pack(whole([row]), share=False)
    labels = torch.roll(torch.tensor(row), 1)
    ours.requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(ours.logits(forward(ours, found)), labels)
    part = ours.blocks[0].mlp
    (loss + 0.5 * part.routing.balance()).backward()
    answer = theirs(torch.tensor([row]), output_router_logits=True)
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    balance = load_balancing_loss_func(answer.router_logits, 5, 2)
    (torch.nn.functional.cross_entropy(answer.logits[0], labels) + 0.5 * balance).backward()
    layer = theirs.model.layers[0].mlp
    assert (part.router.weight.grad - layer.gate.weight.grad).abs().max() < 1e-4
    for number, expert in enumerate(part.experts):
        stacked = layer.experts.gate_up_proj.grad[number]
        own = [x.weight.grad for x in (expert.gate, expert.up)]
        if own[0] is None:
            assert stacked.abs().max() == 0
            continue
        assert (torch.cat(own) - stacked).abs().max() < 1e-4
        assert (expert.down.weight.grad - layer.experts.down_proj.grad[number]).abs().max() < 1e-4


def test_routing_of_a_batch_by_hand() -> None:
    """Six tokens in two rows, three experts, one choice, room for one of a row: the second at an
    expert is dropped, and each row has room of its own."""
    scores = torch.log(
        torch.tensor(
            [[8, 1, 1], [7, 2, 1], [6, 2, 2], [1, 8, 1], [1, 1, 8], [5, 4, 1]], dtype=torch.float
        )
        / 10
    )
    found = route(scores, 1, shared=False)
    assert found.chosen[:, 0].tolist() == [0, 0, 0, 1, 2, 0]
    assert found.gains[:, 0].tolist() == pytest.approx([0.8, 0.7, 0.6, 0.8, 0.8, 0.5])
    padded = found.asked[torch.tensor([[0, 1, 1, 1], [2, 3, 4, 5]])]
    before, (after,) = places(padded, torch.tensor([2, 4]), None)
    assert before[0, :2, 0].tolist() == [0, 1] and before[1, :, 0].tolist() == [0, 1, 1, 1]
    assert after.tolist() == [[2, 0, 0], [2, 1, 1]]
    more, _ = places(padded[:, :1], torch.tensor([1, 1]), (after,))
    assert more[:, 0].tolist() == after.tolist(), "a row that goes on finds what it used before"
    sent = [4 / 6, 1 / 6, 1 / 6]
    mean = [28 / 60, 18 / 60, 14 / 60]
    by_hand = 3 * sum(f * p for f, p in zip(sent, mean, strict=True))
    assert float(found.balance()) == pytest.approx(by_hand)
    assert float(found.z()) == pytest.approx(0, abs=1e-9), "these scores are normalized"
    doubled = route(scores + math.log(2), 1, shared=False)
    assert float(doubled.z()) == pytest.approx(math.log(2) ** 2)


def test_gains_of_two_choices_sum_to_one() -> None:
    scores = torch.tensor([[3.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 3.0, 2.0]])
    found = route(scores, 2, shared=True)
    assert found.chosen.tolist() == [[0, 1], [0, 1], [1, 2]]
    assert found.gains.sum(-1).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_even_use_has_the_least_balance() -> None:
    even = route(torch.eye(4) * 9, 1, shared=False)
    uneven = route(torch.tensor([[9.0, 0, 0, 0]] * 4), 1, shared=False)
    assert float(even.balance()) == pytest.approx(1.0, abs=1e-3)
    assert float(uneven.balance()) == pytest.approx(4.0, abs=1e-2)


def test_dropped_tokens_pass_by() -> None:
    """Of each row on its own, in the order of its tokens."""
    torch.manual_seed(0)
    made = [torch.nn.Linear(8, 8, bias=False) for _ in range(2)]
    part = CrowdedExperts(8, made, 2)
    part.router.weight.data = torch.stack([torch.ones(8), -torch.ones(8)])
    x = torch.rand(9, 8)
    rows = pack(whole([[5] * 6, [5] * 3]), share=False)
    y = part.crowded(x, Pass(0, PackedAttention(Layout.of(rows))))
    kept = torch.tensor([0, 1, 6, 7])
    assert part.routing is not None
    assert torch.allclose(y[kept], made[0](x[kept]) * part.routing.gains[kept])
    assert (y[[2, 3, 4, 5, 8]] == 0).all()
