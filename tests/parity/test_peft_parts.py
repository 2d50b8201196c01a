"""LoRA and DoRA on parts of a fused projection and on the token table, against PEFT."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, GPT2Config, GPT2LMHeadModel

from tests.parity.architecture import twins
from tests.parity.packed import our_loss, their_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.test_peft import IDS, our_logits, their_logits
from tests.parity.test_peft_methods import near
from tests.parity.tuned import attached, resolved, stir, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError, SourceError, UnknownName
from tutelage.models.catalogue import find_preset, layout
from tutelage.peft import METHODS
from tutelage.peft._low_rank import LoraEmbedding, LoraLinear
from tutelage.peft._method import Method
from tutelage.peft.layout import CONFIG, WEIGHTS
from tutelage.peft.open import open_adapter

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore:.*save_embedding_layers:UserWarning"),
]

GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2, "vocab_size": 97}
KINDS = ["gpt2", "bloom"]
"""Queries, keys and values one kind after the other, and head by head."""


def base(kind: str, **changes: Any) -> Any:
    if kind == "gpt2":
        return twins(GPT2LMHeadModel, GPT2Config, seed=6, **{**GPT2, **changes})[0]
    if kind == "bloom":
        return twins(BloomForCausalLM, BloomConfig, seed=6, **{**BLOOM, **changes})[0]
    return their_llama(6, **changes)


CASES: list[dict[str, Any]] = [
    {"roles": ("attn.q",), "rank": 4},
    {"roles": ("attn.q", "attn.v"), "rank": 4, "alpha": 6.0},
    {"roles": ("attn.q", "attn.k", "attn.v"), "rank": 3, "rslora": True},
    {"roles": ("attn.v", "mlp.up", "embed"), "rank": 4, "alpha": 3.0},
    {"roles": ("attn.q", "attn.v", "mlp.up"), "rank": 4, "rslora": True},
    {"roles": ("attn.k",), "rank": 2, "layers": (1,)},
    {"roles": ("embed", "attn.q"), "rank": 2, "layers": (1,)},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(len(CASES)))
def test_they_open_our_parts(at: int, kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(base(kind))
    method: Method = METHODS.get("lora")
    model, settings = tuned("lora", checkpoint, size=0.2, **CASES[at])
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path).eval()
    expected = our_logits(model, IDS)
    assert near(their_logits(theirs, IDS), expected)
    assert (their_logits(base(kind), IDS) - expected).abs().max() > 0.05
    again = build(checkpoint)
    open_adapter(again, checkpoint, tmp_path)
    assert near(our_logits(again, IDS), expected)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == method.count(layout(checkpoint.config), settings)


@pytest.mark.parametrize("kind", KINDS)
def test_they_open_our_directions_of_parts(kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(base(kind))
    method: Method = METHODS.get("dora")
    model, settings = tuned("dora", checkpoint, size=0.2, roles=("attn.q", "attn.v"), rank=4)
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path).eval()
    expected = our_logits(model, IDS)
    assert near(their_logits(theirs, IDS), expected)
    again = build(checkpoint)
    open_adapter(again, checkpoint, tmp_path)
    assert near(our_logits(again, IDS), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("role", "which"), [("attn.q", 0), ("attn.k", 1), ("attn.v", 2)])
def test_a_part_moves_its_own_outputs_alone(role: str, which: int, kind: str) -> None:
    checkpoint = checkpoint_of(base(kind))
    plain, model = build(checkpoint), build(checkpoint)
    attached("lora", model, checkpoint, roles=(role,))
    stir(model)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    before, after = (m.blocks[1].attn.project(x) for m in (plain, model))
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        moved = float((old - new).detach().abs().max())
        assert moved > 0.01 if at == which else moved < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_parts_equal_those_of_the_whole(kind: str, tmp_path: Path) -> None:
    """PEFT trains zeros of the whole B too; ours are the rows of its gradient that we train."""
    checkpoint = checkpoint_of(base(kind))
    model, settings = tuned("lora", checkpoint, size=0.2, roles=("attn.q", "attn.v"), rank=3)
    METHODS.get("lora").write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path, is_trainable=True)
    examples = examples_of(prefix=3)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(theirs, examples) / found.count).backward()
    whole = [p for n, p in theirs.named_parameters() if "lora_" in n]
    ours = [m for m in model.modules() if isinstance(m, LoraLinear)]
    assert len(whole) == 2 * len(ours) > 0
    for (a, b), one in zip(zip(whole[::2], whole[1::2], strict=True), ours, strict=True):
        assert one.parts is not None and a.grad is not None and b.grad is not None
        rank = one.lora_b.shape[1]
        own = [b.grad[rows, at * rank : (at + 1) * rank] for at, rows in enumerate(one.parts)]
        assert (one.lora_a.grad - a.grad).abs().max() < 1e-5
        assert (one.lora_b.grad - torch.cat(own)).abs().max() < 1e-5
        assert a.grad.abs().max() > 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_we_open_their_table(tied: bool, tmp_path: Path) -> None:
    """A tied head stays as it was; an untied one lets the table be merged."""
    theirs = base("llama", tie_word_embeddings=tied)
    targets = ["embed_tokens", "q_proj"]
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=targets, r=4, lora_alpha=6)
    with_table = peft.get_peft_model(theirs, config).eval()
    stir(with_table, seed=1)
    with_table.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base("llama", tie_word_embeddings=tied))
    ours = build(checkpoint)
    before = our_logits(ours, IDS)
    open_adapter(ours, checkpoint, tmp_path)
    expected = their_logits(with_table, IDS)
    assert near(our_logits(ours, IDS), expected)
    assert (before - expected).abs().max() > 0.1
    assert any(isinstance(module, LoraEmbedding) for module in ours.modules()) == tied


@pytest.mark.parametrize("kind", ["llama", *KINDS])
def test_scores_of_tokens(kind: str, tmp_path: Path) -> None:
    """A matrix of their own gets an update as any linear map: either opens the other's."""
    untied = base(kind, tie_word_embeddings=False)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["lm_head"], r=4, lora_alpha=6, rank_pattern={}
    )
    theirs = peft.get_peft_model(copy.deepcopy(untied), config).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path / "theirs")
    checkpoint = checkpoint_of(untied)
    ours = build(checkpoint)
    open_adapter(ours, checkpoint, tmp_path / "theirs")
    assert near(our_logits(ours, IDS), their_logits(theirs, IDS))
    assert (their_logits(untied, IDS) - their_logits(theirs, IDS)).abs().max() > 0.1
    both = {"roles": ("head", "mlp.up" if kind == "llama" else "attn.q"), "rank": 3}
    model, settings = tuned("lora", checkpoint, size=0.2, **both)
    METHODS.get("lora").write(model, checkpoint, settings, tmp_path / "ours")
    opened = peft.PeftModel.from_pretrained(untied, tmp_path / "ours", is_trainable=True).eval()
    expected = our_logits(model, IDS)
    assert near(their_logits(opened, IDS), expected)
    examples = examples_of(prefix=3)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(opened, examples) / found.count).backward()
    named = {n.split(".")[-3]: p for n, p in opened.named_parameters() if "lm_head.lora_" in n}
    scores = model.head.linear
    for mine, other in ((scores.lora_a, named["lora_A"]), (scores.lora_b, named["lora_B"])):
        assert (mine.grad - other.grad).abs().max() < 1e-5 and other.grad.abs().max() > 1e-4
    METHODS.get("lora").merge(model)
    assert near(our_logits(model, IDS), expected) and not isinstance(model.head.linear, LoraLinear)


def test_scores_tied_to_the_table_are_refused(tmp_path: Path) -> None:
    theirs = base("llama", tie_word_embeddings=True)
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"], r=4)
    peft.get_peft_model(theirs, config).save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base("llama", tie_word_embeddings=True))
    with pytest.raises(SourceError) as caught:
        open_adapter(build(checkpoint), checkpoint, tmp_path)
    assert "lm_head" in f"{caught.value.field} {caught.value.got}"


def test_gradients_of_a_table(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(base("llama"))
    model, settings = tuned("lora", checkpoint, size=0.2, roles=("embed",), rank=3)
    METHODS.get("lora").write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base("llama"), tmp_path, is_trainable=True)
    examples = examples_of(prefix=3)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(theirs, examples) / found.count).backward()
    named = {n.split(".")[-2]: p for n, p in theirs.named_parameters() if "lora_" in n}
    table = model.embed.tokens
    pairs = [
        (table.lora_embedding_a, named["lora_embedding_A"]),
        (table.lora_embedding_b, named["lora_embedding_B"]),
    ]
    for mine, other in pairs:
        assert mine.grad is not None and other.grad is not None
        assert (mine.grad - other.grad).abs().max() < 1e-5 and other.grad.abs().max() > 1e-4


def test_another_table_in_the_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["embed_tokens"], r=4)
    peft.get_peft_model(base("llama"), config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    (name,) = (name for name in tensors if name.endswith("base_layer.weight"))
    checkpoint = checkpoint_of(base("llama"))
    open_adapter(build(checkpoint), checkpoint, tmp_path)
    tensors[name][3] += 1
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(SourceError, match="matrix of its own"):
        open_adapter(build(checkpoint), checkpoint, tmp_path)


def test_patterns_of_alpha_and_rank(tmp_path: Path) -> None:
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj", "up_proj"], r=4, lora_alpha=5,
        rank_pattern={"q_proj": 2, "layers.1.mlp.up_proj": 6}, alpha_pattern={"v_proj": 9},
    )  # fmt: skip
    theirs = peft.get_peft_model(base("llama"), config).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base("llama"))
    ours = build(checkpoint)
    open_adapter(ours, checkpoint, tmp_path)
    assert near(our_logits(ours, IDS), their_logits(theirs, IDS))
    written = json.loads((tmp_path / CONFIG).read_text())
    written["alpha_pattern"] = {"(v_proj|k_proj)+": 9}
    (tmp_path / CONFIG).write_text(json.dumps(written))
    with pytest.raises(SourceError, match="no plain name") as caught:
        open_adapter(build(checkpoint), checkpoint, tmp_path)
    assert str(caught.value.field).endswith("alpha_pattern")


def test_counts() -> None:
    """GPT-3, R = 8, W_q alone: the paper's 18,874,368; and a table's R (V + C)."""
    config = find_preset("gpt3-175b")
    settings = resolved("lora", config, rank=8, roles=("attn.q",))
    assert METHODS.get("lora").count(layout(config), settings) == 18_874_368
    both = resolved("lora", config, rank=8, roles=("attn.q", "attn.v"))
    assert METHODS.get("lora").count(layout(config), both) == 2 * 18_874_368
    small = checkpoint_of(base("gpt2")).config
    settings = resolved("dora", small, rank=4, roles=("attn.q",))
    assert METHODS.get("dora").count(layout(small), settings) == 3 * (4 * (32 + 32) + 32)
    table = resolved("lora", small, rank=4, roles=("embed",))
    assert METHODS.get("lora").count(layout(small), table) == 4 * (small["vocab_size"] + 32)


def test_roles_that_do_not_fit_are_named() -> None:
    gpt2, llama = checkpoint_of(base("gpt2")).config, checkpoint_of(base("llama")).config
    with pytest.raises(ConfigError, match="parts") as caught:
        resolved("lora", gpt2, roles=("attn.qkv", "attn.q"))
    assert caught.value.field == "--role"
    for name, config, role in (
        ("lora", llama, "attn.qkv"),
        ("dora", gpt2, "embed"),
        ("vera", gpt2, "attn.q"),
        ("lora", gpt2, "cross.q"),
        ("lora", gpt2, "head"),
        ("dora", llama, "head"),
    ):
        with pytest.raises(UnknownName) as wrong:
            resolved(name, config, roles=(role,))
        assert wrong.value.field == "--role" and wrong.value.got == role
