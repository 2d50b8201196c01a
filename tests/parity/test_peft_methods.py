"""Every method that PEFT has against it, on the same random weights: either opens the other's
adapter, the gradients of a step agree, and merging changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.parity.architecture import twins
from tests.parity.heads import SMALL
from tests.parity.packed import our_loss, their_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.test_peft import IDS, our_logits, their_logits
from tests.parity.tuned import attached, behind, stir, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example
from tutelage.models.catalogue import layout
from tutelage.peft import METHODS
from tutelage.peft._method import Method
from tutelage.peft._virtual import random_words, virtual_of
from tutelage.peft.open import method_of, open_adapter

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
QWEN3 = {**SMALL["Qwen3"], "num_hidden_layers": 3, "initializer_range": 0.2}


def base(kind: str) -> PreTrainedModel:
    """LLaMA without and with biases; GPT-2, whose projection is fused and whose files hold matrices
    the other way round; Qwen3, whose keys are normalized. Always the same weights."""
    found: PreTrainedModel
    if kind == "gpt2":
        found = twins(GPT2LMHeadModel, GPT2Config, seed=6, **GPT2)[0]
        return found
    if kind == "qwen3":
        found = twins(Qwen3ForCausalLM, Qwen3Config, seed=6, **QWEN3)[0]
        return found
    biases = kind == "biased"
    return their_llama(6, attention_bias=biases, mlp_bias=biases)


LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEARS = {"llama": LLAMA, "biased": LLAMA, "gpt2": ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]}
OUT = {"llama": ["down_proj"], "biased": ["down_proj"], "gpt2": ["mlp.c_proj"]}
NORMS = {"llama": ["input_layernorm", "norm"], "gpt2": ["ln_1", "ln_2", "ln_f"]}
KINDS = ["llama", "biased", "gpt2"]
READING = [*KINDS, "qwen3"]
"""With those that read virtual tokens in a way of their own."""
ONE_LAYER: dict[str, Any] = {"layers_to_transform": [1], "r": 3}
Case = tuple[str, str, Any]


def _theirs() -> list[Case]:
    """Method, kind of model, and PEFT's configuration."""
    cases: list[Case] = []
    for kind in KINDS:
        common: dict[str, Any] = {"task_type": "CAUSAL_LM", "target_modules": LINEARS[kind]}
        if kind == "gpt2":
            common["fan_in_fan_out"] = True
        cases += [
            ("lora", kind, peft.LoraConfig(**common, r=4, lora_alpha=6)),
            ("dora", kind, peft.LoraConfig(**common, r=4, lora_alpha=6, use_dora=True)),
            ("dora", kind, peft.LoraConfig(**common, use_dora=True, use_rslora=True, **ONE_LAYER)),
            ("vera", kind, peft.VeraConfig(**common, r=5, projection_prng_key=3)),
            ("vera", kind, peft.VeraConfig(**common, **ONE_LAYER)),
            ("ia3", kind, peft.IA3Config(**common, feedforward_modules=OUT[kind])),
            ("ia3", kind, peft.IA3Config(**common, feedforward_modules=[])),
        ]
    for kind, targets in NORMS.items():
        config = peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=targets)
        cases.append(("norms", kind, config))
    return cases


THEIRS = _theirs()


def theirs_tuned(kind: str, config: Any) -> Any:
    """A PEFT model with everything trained far from where it starts."""
    model = peft.get_peft_model(base(kind), config).eval()
    stir(model, seed=1)
    return model


def near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-4)


@pytest.mark.parametrize(
    ("name", "kind", "config"), THEIRS, ids=[f"{n}-{k}-{i}" for i, (n, k, _) in enumerate(THEIRS)]
)
def test_we_open_theirs(name: str, kind: str, config: Any, tmp_path: Path) -> None:
    theirs = theirs_tuned(kind, config)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base(kind))
    expected = their_logits(theirs, IDS)
    ours = build(checkpoint)
    before = our_logits(ours, IDS)
    assert method_of(tmp_path).name == name
    method: Method = METHODS.get(name)
    assert method.read is not None
    method.read(ours, checkpoint, tmp_path)
    assert near(our_logits(ours, IDS), expected)
    assert (before - expected).abs().max() > 0.05, "the adapter changes something"
    opened = build(checkpoint)
    open_adapter(opened, checkpoint, tmp_path)
    assert near(our_logits(opened, IDS), expected)
    assert {type(m) for m in opened.modules()} == {type(m) for m in build(checkpoint).modules()}


OURS: list[tuple[str, str, dict[str, Any]]] = [
    (name, kind, {**options})
    for kind in KINDS
    for name, options in (
        ("lora", {"rank": 4}),
        ("lora", {"rank": 4, "rslora": True, "layers": (0, 2)}),
        ("dora", {"rank": 3, "alpha": 5.0}),
        ("dora", {"rank": 4, "rslora": True, "layers": (1,)}),
        ("vera", {"rank": 6}),
        ("vera", {"layers": (1, 2)}),
        ("ia3", {}),
        ("ia3", {"layers": (2,), "roles": ("attn.o", "mlp.down")}),
        ("norms", {}),
    )
]


@pytest.mark.parametrize(
    ("name", "kind", "options"), OURS, ids=[f"{n}-{k}-{i}" for i, (n, k, _) in enumerate(OURS)]
)
def test_they_open_ours(name: str, kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(base(kind))
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2, **options)
    assert method.theirs
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path, is_trainable=True).eval()
    expected = our_logits(model, IDS)
    assert near(their_logits(theirs, IDS), expected)
    assert (their_logits(base(kind), IDS) - expected).abs().max() > 0.05
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert count == method.count(layout(checkpoint.config), settings)
    again = build(checkpoint)
    open_adapter(again, checkpoint, tmp_path)
    assert near(our_logits(again, IDS), expected)


@pytest.mark.parametrize("kind", ["biased", "gpt2"])
@pytest.mark.parametrize("name", ["lora", "dora", "vera", "ia3", "norms"])
def test_gradients_of_a_step(name: str, kind: str, tmp_path: Path) -> None:
    """As sums of squares over all that is trained, and element by element in their largest."""
    checkpoint = checkpoint_of(base(kind))
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2)
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path, is_trainable=True).eval()
    examples = examples_of(prefix=11)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(theirs, examples) / found.count).backward()
    ours, others = ([p for p in m.parameters() if p.grad is not None] for m in (model, theirs))
    assert len(ours) == len(others) > 0
    assert all(p.requires_grad for p in ours)
    pairs = [(p.grad, same_in(p, others)) for p in ours]
    for mine, wanted in pairs:
        assert mine is not None
        assert (mine.flatten() - wanted.flatten()).abs().max() < 1e-4
    assert max(float(wanted.abs().max()) for _, wanted in pairs) > 1e-3


def same_in(parameter: torch.Tensor, others: list[torch.nn.Parameter]) -> torch.Tensor:
    """The gradient of the parameter of theirs that has these very values."""
    flat = parameter.detach().flatten()
    for other in others:
        if other.numel() == flat.numel() and torch.equal(other.detach().flatten(), flat):
            assert other.grad is not None
            return other.grad
    raise AssertionError("no such parameter")


def test_a_pair_that_is_not_stored_is_drawn_again(tmp_path: Path) -> None:
    config = peft.VeraConfig(
        task_type="CAUSAL_LM", target_modules=LLAMA, r=5, projection_prng_key=7,
        save_projection=False,
    )  # fmt: skip
    theirs = theirs_tuned("llama", config)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base("llama"))
    ours = build(checkpoint)
    open_adapter(ours, checkpoint, tmp_path)
    assert near(our_logits(ours, IDS), their_logits(theirs, IDS))


def virtual_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Our scores of the row's own tokens."""
    before = list(virtual_of(model).ids)
    return our_logits(model, [*before, *ids])[len(before) :]


PROMPTS: list[tuple[str, Any]] = [
    ("prompt-tuning", peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=9)),
    (
        "p-tuning",
        peft.PromptEncoderConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=24
        ),
    ),
    ("prefix-tuning", peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=9)),
    (
        "prefix-tuning",
        peft.PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True,
            encoder_hidden_size=12,
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("kind", READING)
@pytest.mark.parametrize("at", range(len(PROMPTS)))
def test_we_open_their_virtual_tokens(at: int, kind: str, tmp_path: Path) -> None:
    name, config = PROMPTS[at]
    theirs = peft.get_peft_model(base(kind), copy.deepcopy(config)).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(base(kind))
    ours = build(checkpoint)
    before = our_logits(ours, IDS)
    open_adapter(ours, checkpoint, tmp_path)
    assert method_of(tmp_path).name == name
    expected = their_logits(theirs, IDS)[-len(IDS) :]
    assert near(virtual_logits(ours, IDS), expected)
    assert (before - expected).abs().max() > 0.05


@pytest.mark.parametrize("kind", READING)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("prompt-tuning", {"tokens": 9}),
        ("prompt-tuning", {"tokens": 9, "start": "random"}),
        ("p-tuning", {"tokens": 9}),
        ("prefix-tuning", {"tokens": 9}),
        ("prefix-tuning", {"tokens": 9, "hidden": 12}),
    ],
)
def test_they_open_our_virtual_tokens(
    name: str, options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(base(kind))
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2, **options)
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path).eval()
    expected = virtual_logits(model, IDS)
    assert near(their_logits(theirs, IDS)[-len(IDS) :], expected)
    assert (their_logits(base(kind), IDS) - expected).abs().max() > 0.05


def their_virtual_loss(theirs: Any, examples: list[Example]) -> torch.Tensor:
    """The weighted sum over trained tokens, one row at a time."""
    total = torch.zeros(())
    for e in examples:
        logits = theirs(torch.tensor([e.ids])).logits[0, -len(e.ids) :][list(e.at)]
        nats = torch.nn.functional.cross_entropy(logits, torch.tensor(e.labels), reduction="sum")
        total = total + e.weight * nats
    return total


@pytest.mark.parametrize("kind", READING)
@pytest.mark.parametrize("name", ["prompt-tuning", "prefix-tuning"])
def test_gradients_of_virtual_tokens(name: str, kind: str) -> None:
    """Packed rows that share what stands before them, against each row alone."""
    checkpoint = checkpoint_of(base(kind))
    model, _ = tuned(name, checkpoint, size=0.2, tokens=9)
    (learned,) = (p for p in model.parameters() if p.requires_grad)
    config = next(config for one, config in PROMPTS if one == name)
    theirs = peft.get_peft_model(base(kind), copy.deepcopy(config)).eval()
    own = theirs.prompt_encoder["default"].embedding.weight
    own.data.copy_(learned)
    examples = examples_of(prefix=3)
    found = our_loss(model, behind(model, examples))
    (found.total / found.count).backward()
    (their_virtual_loss(theirs, examples) / found.count).backward()
    assert learned.grad is not None and own.grad is not None
    assert (learned.grad - own.grad).abs().max() < 1e-4 and own.grad.abs().max() > 1e-3


@pytest.mark.parametrize("kind", READING)
def test_a_prefix_of_words_is_what_their_tokens_would_be(kind: str) -> None:
    """Before anything is learned, virtual tokens have the words' keys and values."""
    checkpoint = checkpoint_of(base(kind))
    model = build(checkpoint)
    attached("prefix-tuning", model, checkpoint, seed=5, tokens=9)
    words = random_words(build(checkpoint), 9, torch.Generator().manual_seed(5)).tolist()
    expected = our_logits(build(checkpoint), [*words, *IDS])[9:]
    assert near(virtual_logits(model, IDS), expected)
