"""LoRA against PEFT on the same weights: either opens the other's adapter; gradients agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tests.parity.packed import our_loss, their_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example, pack
from tutelage.errors import SourceError
from tutelage.models.forward import tokens_of
from tutelage.models.transformer import Transformer
from tutelage.nn.packed import Layout, PackedAttention
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft.actions import lora as actions
from tutelage.peft.layout import module_names

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = list(range(3, 40, 2))
CONFIGS: dict[str, dict[str, Any]] = {
    "all linears": {"target_modules": ALL, "r": 4, "lora_alpha": 8},
    "attention": {"target_modules": ["q_proj", "v_proj"], "r": 7, "lora_alpha": 3},
    "the library's word for all": {"target_modules": "all-linear", "r": 2},
    "one layer": {"target_modules": ["o_proj"], "layers_to_transform": [1], "r": 3},
    "rank-stabilised": {"target_modules": ALL, "r": 9, "lora_alpha": 5, "use_rslora": True},
    "several ranks": {"target_modules": ALL, "r": 4, "rank_pattern": {"q_proj": 8, "up_proj": 2}},
    "gaussian": {"target_modules": ALL, "r": 4, "init_lora_weights": "gaussian"},
}


def our_logits(model: Transformer, ids: list[int]) -> torch.Tensor:
    example = Example.answer(tuple(ids[:1]), (*ids[1:], 0))
    return logits_of(model, example)


def logits_of(model: Transformer, example: Example) -> torch.Tensor:
    found = pack([example])
    tokens = tokens_of(found, model.device)
    with torch.inference_mode():
        return model.logits(model.hidden(tokens, PackedAttention(Layout.of(found))))


def their_logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


def theirs_tuned(base: transformers.PreTrainedModel, **settings: Any) -> peft.PeftModel:
    """An adapter of PEFT's whose update is far from zero."""
    tuned = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return tuned


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("biases", [False, True])
def test_we_open_theirs(name: str, biases: bool, tmp_path: Path) -> None:
    changes = {"attention_bias": biases, "mlp_bias": biases}
    checkpoint = checkpoint_of(their_llama(**changes))
    tuned = theirs_tuned(their_llama(**changes), **CONFIGS[name])
    tuned.save_pretrained(tmp_path)
    expected = their_logits(tuned, IDS)
    ours = build(checkpoint)
    before = our_logits(ours, IDS)
    actions.read(ours, checkpoint, tmp_path)
    attached = our_logits(ours, IDS)
    assert (attached - expected).abs().max() < 1e-4
    assert (before - expected).abs().max() > 0.1, "the adapter changes something"
    actions.merge(ours)
    assert not any(isinstance(module, LoraLinear) for module in ours.modules())
    assert (our_logits(ours, IDS) - expected).abs().max() < 1e-4


def ours_tuned(checkpoint: Any, **options: Any) -> tuple[Transformer, Any]:
    """LoRA whose B is far from zero."""
    model = build(checkpoint)
    settings = attached("lora", model, checkpoint, seed=3, **options)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lora_b"):
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model, settings


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rank": 3, "alpha": 5.0},
        {"roles": ("attn.q",), "rank": 8},
        {"roles": ("mlp.down", "attn.o"), "rank": 5, "alpha": 1.5},
    ],
)
def test_they_open_ours(settings: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = checkpoint_of(their_llama())
    model, resolved = ours_tuned(checkpoint, **settings)
    actions.write(model, checkpoint, resolved, tmp_path)
    tuned = peft.PeftModel.from_pretrained(their_llama(), tmp_path).eval()
    expected = our_logits(model, IDS)
    assert (their_logits(tuned, IDS) - expected).abs().max() < 1e-4
    assert (their_logits(their_llama(), IDS) - expected).abs().max() > 0.1
    again = build(checkpoint)
    actions.read(again, checkpoint, tmp_path)
    assert torch.equal(our_logits(again, IDS), expected)


def test_the_gradients_of_a_step_equal_theirs(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(their_llama())
    model, resolved = ours_tuned(checkpoint, rank=4)
    actions.write(model, checkpoint, resolved, tmp_path)
    tuned = peft.PeftModel.from_pretrained(their_llama(), tmp_path, is_trainable=True)
    examples = examples_of(prefix=11)
    found = our_loss(model, examples)
    (found.total / found.count).backward()
    (their_loss(tuned, examples) / found.count).backward()
    names = module_names(checkpoint)
    theirs = {n.removeprefix("base_model.model."): p for n, p in tuned.named_parameters()}
    compared = 0
    for path, module in model.named_modules():
        if not isinstance(module, LoraLinear):
            continue
        for mine, other in ((module.lora_a, "lora_A"), (module.lora_b, "lora_B")):
            wanted = theirs[f"{names[path]}.{other}.default.weight"].grad
            assert mine.grad is not None and wanted is not None
            assert (mine.grad - wanted).abs().max() < 1e-5
            assert wanted.abs().max() > 1e-4
            compared += 1
    assert compared == 2 * 7 * 3
    trained = [n for n, p in model.named_parameters() if p.grad is not None]
    assert all(n.endswith(("lora_a", "lora_b")) for n in trained)
    assert len(trained) == compared


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"alpha_pattern": {".*q_proj": 3}},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"alora_invocation_tokens": [5, 6]},
        {"trainable_token_indices": [1, 2]},
        {"layer_replication": [[0, 2], [1, 3]]},
    ],
)
def test_what_would_change_the_answer_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    """Either the logits are PEFT's or the adapter is refused: never a third thing."""
    base = their_llama()
    checkpoint = checkpoint_of(their_llama())
    tuned = theirs_tuned(base, **{"target_modules": ["q_proj", "v_proj"], "r": 4, **settings})
    tuned.save_pretrained(tmp_path)
    with pytest.raises(SourceError) as caught:
        actions.read(build(checkpoint), checkpoint, tmp_path)
    assert str(tmp_path) in str(caught.value.field)
