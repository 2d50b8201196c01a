"""Logits and gradients of our LLaMA equal transformers' on the same random weights, in float32."""

from __future__ import annotations

import pytest
import torch

from tests.parity.witness import pair
from tutelage.data.pack import Example, pack
from tutelage.models.catalogue import layout
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout, PackedAttention

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS = {
    "plain": {},
    "one head each": {"num_key_value_heads": 4},
    "one key head": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 24},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 5e4}},
    "dynamic": {
        "max_position_embeddings": 16,
        "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
    },
    "yarn": {"rope_parameters": {**YARN, "rope_theta": 1e4}},
    "llama3": {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}},
}


def layout_of(lengths: list[int], prefix: int = 0) -> tuple[Layout, int]:
    """Rows of so many tokens behind `prefix` tokens that all share, and the number of tokens."""
    shared = tuple(range(prefix))
    rows = [Example.answer((*shared, 900 + i, *range(n - 1)), (0,)) for i, n in enumerate(lengths)]
    found = pack(rows)
    assert found.prefix == prefix
    return Layout.of(found), len(found.ids)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_equal_transformers(name: str, seed: int) -> None:
    theirs, ours = pair(seed, **VARIANTS[name])
    ids = torch.randint(97, (45,))
    plan, total = layout_of([len(ids)])
    with torch.inference_mode():
        expected = theirs(ids[None]).logits[0]
        got = ours.logits(ours.hidden(Tokens(ids, torch.arange(total)), PackedAttention(plan)))
    assert (got - expected).abs().max() < 1e-4


@pytest.mark.parametrize("prefix", [0, 9])
def test_packed_rows_equal_rows_alone(prefix: int) -> None:
    theirs, ours = pair()
    start = torch.randint(97, (prefix,))
    rows = [torch.randint(97, (length,)) for length in (5, 19, 11)]
    plan, _ = layout_of([len(row) for row in rows], prefix)
    positions = torch.cat([torch.arange(prefix), *(prefix + torch.arange(len(r)) for r in rows)])
    ids = torch.cat([start, *rows])
    with torch.inference_mode():
        got = ours.logits(ours.hidden(Tokens(ids, positions), PackedAttention(plan)))
        at = prefix
        for row in rows:
            alone = theirs(torch.cat([start, row])[None]).logits[0, prefix:]
            assert (got[at : at + len(row)] - alone).abs().max() < 1e-4
            at += len(row)


@pytest.mark.parametrize("prefix", [0, 8])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_transformers(prefix: int, checkpointing: bool) -> None:
    """Summed loss over packed rows: every weight's gradient is the sum over the rows alone."""
    theirs, ours = pair(tie_word_embeddings=True)
    ours.requires_grad_(True)
    ours.checkpointing = checkpointing
    start = torch.randint(97, (prefix,))
    rows = [torch.randint(97, (length,)) for length in (4, 17, 9)]
    plan, _ = layout_of([len(row) for row in rows], prefix)
    positions = torch.cat([torch.arange(prefix), *(prefix + torch.arange(len(r)) for r in rows)])
    select, labels, at = [], [], prefix
    for row in rows:
        select += range(at, at + len(row) - 1)
        labels += row[1:].tolist()
        at += len(row)
    hidden = ours.hidden(
        Tokens(torch.cat([start, *rows]), positions), PackedAttention(plan), torch.tensor(select)
    )
    loss = torch.nn.functional.cross_entropy(
        ours.logits(hidden), torch.tensor(labels), reduction="sum"
    )
    loss.backward()
    for row in rows:
        whole = torch.cat([start, row])
        logits = theirs(whole[None]).logits[0, prefix:-1]
        torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum").backward()
    own = dict(ours.named_parameters())
    wanted = dict(theirs.named_parameters())
    for weight in layout(theirs.config.to_dict()):
        difference = own[weight.path].grad - wanted[weight.hf_name].grad
        assert difference.abs().max() < 1e-4, weight.path
