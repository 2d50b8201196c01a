"""Gradients against PEFT: of a network that makes virtual tokens, of rank-stabilised updates and of
those beside a base of few bits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.parity.packed import our_loss, their_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.test_peft_methods import KINDS, PROMPTS, base, behind, their_virtual_loss
from tests.parity.tuned import tuned
from tests.parity.witness import checkpoint_of
from tests.unit.peft.test_qlora import widened
from tutelage.nn.form import Form
from tutelage.peft import METHODS
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._virtual import Mixed
from tutelage.peft.layout import module_names

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
MAKERS: dict[str, tuple[dict[str, Any], Any]] = {
    "p-tuning": ({"tokens": 5, "hidden": 24}, PROMPTS[1][1]),
    "prefix-tuning": ({"tokens": 3, "hidden": 12}, PROMPTS[3][1]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_the_network_behind_virtual_tokens(name: str, kind: str) -> None:
    """Its learned rows, and every weight and bias of its layers."""
    options, config = MAKERS[name]
    model, _ = tuned(name, checkpoint_of(base(kind)), size=0.1, **options)
    (maker,) = (module for module in model.modules() if isinstance(module, Mixed))
    theirs = peft.get_peft_model(base(kind), copy.deepcopy(config)).eval()
    encoder = theirs.prompt_encoder["default"]
    network = encoder.mlp_head if name == "p-tuning" else encoder.transform
    layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    pairs = [
        (maker.rows, encoder.embedding.weight),
        *zip(maker.weights, [layer.weight for layer in layers], strict=True),
        *zip(maker.biases, [layer.bias for layer in layers], strict=True),
    ]
    for mine, other in pairs:
        assert mine.shape == other.shape
        other.data.copy_(mine.detach())
    examples = examples_of(prefix=3)
    found = our_loss(model, behind(model, examples))
    (found.total / found.count).backward()
    (their_virtual_loss(theirs, examples) / found.count).backward()
    for mine, other in pairs:
        assert mine.grad is not None and other.grad is not None
        assert (mine.grad - other.grad).abs().max() < 1e-4 and other.grad.abs().max() > 1e-3
    trained = {id(p) for p in model.parameters() if p.grad is not None}
    assert trained == {id(mine) for mine, _ in pairs}


CASES: list[tuple[str, dict[str, Any]]] = [
    ("lora", {"rank": 4, "rslora": True, "layers": (0, 2), "roles": ("attn.q", "mlp.down")}),
    ("qlora", {"rank": 4, "bits": 8, "group": 8}),
    ("qlora", {"rank": 3, "bits": 4, "group": 8, "rslora": True, "layers": (1,)}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=["rslora", "8 bits", "4 bits"])
def test_gradients_of_updates_by_their_names(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(base("llama"))
    model, settings = tuned(name, checkpoint, size=0.2, **options)
    METHODS.get(name).write(model, checkpoint, settings, tmp_path)
    form = Form(options["bits"], options["group"]) if name == "qlora" else None
    under = base("llama") if form is None else widened(checkpoint, form)
    theirs = peft.PeftModel.from_pretrained(under, tmp_path, is_trainable=True).eval()
    examples = examples_of(prefix=11)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(theirs, examples) / found.count).backward()
    own = {n.removeprefix("base_model.model."): p for n, p in theirs.named_parameters()}
    names = module_names(checkpoint)
    wrapped = {path: one for path, one in model.named_modules() if isinstance(one, LoraLinear)}
    assert 2 * len(wrapped) == sum(p.requires_grad for p in theirs.parameters()) > 0
    for path, one in wrapped.items():
        for mine, part in ((one.lora_a, "lora_A"), (one.lora_b, "lora_B")):
            wanted = own[f"{names[path]}.{part}.default.weight"].grad
            assert mine.grad is not None and wanted is not None
            assert (mine.grad - wanted).abs().max() < 1e-4, path
            assert wanted.abs().max() > 1e-4, path
