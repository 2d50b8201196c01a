"""DoRA, VeRA, IA3 and norms of an encoder-decoder against PEFT: either opens the other's adapter,
the gradients of a step agree. LoRA and virtual tokens have files of their own beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.parity.pairs import padded
from tests.parity.test_pairs_peft import assert_equal, bases, rows
from tests.parity.test_peft_methods import same_in
from tests.parity.tuned import stir, tuned
from tests.parity.witness import checkpoint_of
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example
from tutelage.models.catalogue import layout
from tutelage.objectives import clm
from tutelage.peft import METHODS
from tutelage.peft._method import Method
from tutelage.peft.open import method_of, open_adapter
from tutelage.train.loop import loss_of

# What peft and transformers tell each other about their own names is not ours to mend.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]

T5 = ["q", "k", "v", "o", "wo"]
LINEARS = {
    "v1.0": [*T5, "wi"],
    "v1.1": [*T5, "wi_0", "wi_1"],
    "bart": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
}
OUT = {"v1.0": ["wo"], "v1.1": ["wo"], "bart": ["fc2"]}
NORMS = {
    "v1.0": ["layer_norm", "final_layer_norm"],
    "v1.1": ["0.layer_norm", "final_layer_norm"],
    "bart": ["self_attn_layer_norm", "encoder_attn_layer_norm", "layernorm_embedding"],
}
KINDS = list(LINEARS)


def _theirs() -> list[tuple[str, str, Any]]:
    """Method, kind of model, and PEFT's configuration."""
    cases: list[tuple[str, str, Any]] = []
    for kind in KINDS:
        common: dict[str, Any] = {"task_type": "SEQ_2_SEQ_LM", "target_modules": LINEARS[kind]}
        lone: dict[str, Any] = {**common, "target_modules": LINEARS[kind][:2]}
        norms = peft.LNTuningConfig(task_type="SEQ_2_SEQ_LM", target_modules=NORMS[kind])
        cases += [
            ("dora", kind, peft.LoraConfig(**common, r=4, lora_alpha=6, use_dora=True)),
            ("dora", kind, peft.LoraConfig(**lone, r=3, use_dora=True, use_rslora=True)),
            ("vera", kind, peft.VeraConfig(**common, r=5, projection_prng_key=3)),
            ("vera", kind, peft.VeraConfig(**lone, r=3)),
            ("ia3", kind, peft.IA3Config(**common, feedforward_modules=OUT[kind])),
            ("ia3", kind, peft.IA3Config(**lone, feedforward_modules=[])),
            ("norms", kind, norms),
        ]
    return cases


THEIRS = _theirs()
OURS: list[tuple[str, dict[str, Any]]] = [
    ("dora", {"rank": 3, "alpha": 5.0}),
    ("dora", {"rank": 4, "rslora": True, "roles": ("cross.q", "cross.v")}),
    ("vera", {"rank": 6}),
    ("vera", {"rank": 4, "roles": ("attn.q", "mlp.down")}),
    ("ia3", {}),
    ("ia3", {"roles": ("cross.k", "cross.v", "mlp.down")}),
    ("norms", {}),
]


@pytest.mark.parametrize("at", range(len(THEIRS)), ids=[f"{n}-{k}" for n, k, _ in THEIRS])
def test_we_open_theirs(at: int, tmp_path: Path) -> None:
    name, kind, config = THEIRS[at]
    theirs = peft.get_peft_model(bases(kind)[0], config).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(bases(kind)[0])
    assert method_of(tmp_path).name == name
    method: Method = METHODS.get(name)
    ours = build(checkpoint)
    assert method.read is not None
    method.read(ours, checkpoint, tmp_path)
    assert_equal(theirs, ours)
    with pytest.raises(AssertionError):
        assert_equal(theirs, bases(kind)[1], 0.05)
    merged = build(checkpoint)
    open_adapter(merged, checkpoint, tmp_path)
    assert_equal(theirs, merged)
    assert {type(m) for m in merged.modules()} == {type(m) for m in build(checkpoint).modules()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "options"), OURS)
def test_they_open_ours(name: str, options: dict[str, Any], kind: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(bases(kind)[0])
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2, **options)
    method.write(model, checkpoint, settings, tmp_path)
    assert store.read_json(tmp_path / "adapter_config.json")["task_type"] == "SEQ_2_SEQ_LM"
    theirs = peft.PeftModel.from_pretrained(bases(kind)[0], tmp_path, is_trainable=True).eval()
    assert isinstance(theirs, peft.PeftModelForSeq2SeqLM)
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert count == method.count(layout(checkpoint.config), settings)
    assert_equal(theirs, model)
    with pytest.raises(AssertionError):
        assert_equal(theirs, bases(kind)[1], 0.05)
    again = build(checkpoint)
    open_adapter(again, checkpoint, tmp_path)
    assert_equal(theirs, again)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["dora", "vera", "ia3", "norms"])
def test_gradients_of_a_step(name: str, kind: str, tmp_path: Path) -> None:
    """Of every parameter that is trained, element by element."""
    checkpoint = checkpoint_of(bases(kind)[0])
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.2)
    method.write(model, checkpoint, settings, tmp_path)
    theirs = peft.PeftModel.from_pretrained(bases(kind)[0], tmp_path, is_trainable=True).eval()
    examples = [Example.pair(s, t, model.start) for s, t in zip(*rows(), strict=True)]
    found = loss_of(model, examples, clm.loss)
    (found.total / found.count).backward()
    ids, mask, _ = padded(rows()[0], "right")
    wanted, seen, _ = padded(rows()[1], "right")
    labels = wanted.masked_fill(seen == 0, -100)
    theirs(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
    ours, others = ([p for p in m.parameters() if p.grad is not None] for m in (model, theirs))
    assert len(ours) == len(others) > 0
    pairs: list[tuple[Any, torch.Tensor]] = [(p.grad, same_in(p, others)) for p in ours]
    for mine, other in pairs:
        assert (mine.flatten() - other.flatten()).abs().max() < 1e-4
    assert max(float(other.abs().max()) for _, other in pairs) > 1e-3
