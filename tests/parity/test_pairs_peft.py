"""LoRA of an encoder-decoder against PEFT: either opens the other's adapter; gradients agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import PreTrainedModel

from tests.parity.architecture import rows_of
from tests.parity.pairs import SOURCES, TARGETS, our_logits, padded, their_logits
from tests.parity.test_bart import bart_twins
from tests.parity.test_t5 import t5_twins
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example, memory_of, pack
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import forward
from tutelage.objectives import clm
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft.actions import lora as actions
from tutelage.peft.layout import module_names

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

ROLES: dict[str, tuple[str, ...] | None] = {
    "all": None,
    "self-attention": ("attn.q", "attn.v"),
    "cross-attention": ("cross.q", "cross.o"),
    "network": ("mlp.up", "mlp.down"),
}


def bases(kind: str) -> tuple[PreTrainedModel, EncoderDecoder]:
    return t5_twins(kind, seed=3) if kind.startswith("v1") else bart_twins("plain", seed=3)


def rows() -> tuple[list[list[int]], list[list[int]]]:
    return rows_of(SOURCES, seed=8), rows_of(TARGETS, seed=9)


def assert_equal(tuned: Any, ours: EncoderDecoder, bound: float = 1e-4) -> None:
    with torch.inference_mode():
        got = our_logits(ours, *rows())
    for mine, expected in zip(got, their_logits(tuned, *rows(), "right"), strict=True):
        assert (mine - expected).abs().max() < bound


def stir(named: Any) -> None:
    """Updates far from zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in named:
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.2)


def ours_tuned(theirs: Any, roles: tuple[str, ...] | None) -> tuple[Any, EncoderDecoder, Any]:
    checkpoint = checkpoint_of(theirs)
    model = build(checkpoint)
    settings = attached("lora", model, checkpoint, seed=4, rank=3, alpha=5.0, roles=roles)
    stir(model.named_parameters())
    return checkpoint, model, settings


@pytest.mark.parametrize("kind", ["v1.0", "v1.1", "bart"])
@pytest.mark.parametrize("name", ROLES)
def test_they_open_ours(kind: str, name: str, tmp_path: Path) -> None:
    theirs, _ = bases(kind)
    checkpoint, model, settings = ours_tuned(theirs, ROLES[name])
    actions.write(model, checkpoint, settings, tmp_path)
    assert store.read_json(tmp_path / "adapter_config.json")["task_type"] == "SEQ_2_SEQ_LM"
    tuned = peft.PeftModel.from_pretrained(bases(kind)[0], tmp_path).eval()
    assert isinstance(tuned, peft.PeftModelForSeq2SeqLM)
    added = [n for n, _ in tuned.named_parameters() if "lora_A" in n]
    assert len(added) == sum(isinstance(m, LoraLinear) for m in model.modules())
    assert_equal(tuned, model)
    with pytest.raises(AssertionError):
        assert_equal(tuned, bases(kind)[1], 0.1)
    again = build(checkpoint)
    actions.read(again, checkpoint, tmp_path)
    actions.merge(again)
    assert_equal(tuned, again)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q", "wo"], "use_rslora": True},
        {"target_modules": ["EncDecAttention.k"]},
    ],
)
def test_we_open_theirs(settings: dict[str, Any], tmp_path: Path) -> None:
    theirs, ours = bases("v1.0")
    checkpoint = checkpoint_of(bases("v1.0")[0])
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=6, **settings)
    tuned = peft.get_peft_model(theirs, config).eval()
    stir(tuned.named_parameters())
    tuned.save_pretrained(tmp_path)
    actions.read(ours, checkpoint, tmp_path)
    assert_equal(tuned, ours)


def test_the_gradients_of_a_step_equal_theirs(tmp_path: Path) -> None:
    theirs, _ = bases("v1.1")
    checkpoint, model, settings = ours_tuned(theirs, None)
    actions.write(model, checkpoint, settings, tmp_path)
    tuned = peft.PeftModel.from_pretrained(bases("v1.1")[0], tmp_path, is_trainable=True).eval()
    sources, targets = rows()
    examples = [Example.pair(s, t, model.start) for s, t in zip(sources, targets, strict=True)]
    plan = pack(examples)
    labels, weights = map(torch.from_numpy, (plan.labels, plan.weights))
    found = clm.loss(model, forward(model, plan, memory_of(examples)), labels, weights)
    (found.total / found.count).backward()
    ids, mask, _ = padded(sources, "right")
    wanted, seen, _ = padded(targets, "right")
    tuned(
        input_ids=ids, attention_mask=mask, labels=wanted.masked_fill(seen == 0, -100)
    ).loss.backward()
    names = module_names(checkpoint)
    own = {n.removeprefix("base_model.model."): p for n, p in tuned.named_parameters()}
    wrapped = {p: m for p, m in model.named_modules() if isinstance(m, LoraLinear)}
    assert len(wrapped) == 3 * (4 + 3) + 3 * (8 + 3)
    for path, module in wrapped.items():
        for mine, part in ((module.lora_a, "lora_A"), (module.lora_b, "lora_B")):
            expected = own[f"{names[path]}.{part}.default.weight"].grad
            assert mine.grad is not None and expected is not None
            assert (mine.grad - expected).abs().max() < 1e-5, path
