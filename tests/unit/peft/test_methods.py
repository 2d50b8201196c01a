"""What every way of tuning promises, over the whole registry and three kinds of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, T5Config
from transformers import T5ForConditionalGeneration as T5

from tests.parity.architecture import twins
from tests.parity.packed import our_loss
from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached, behind, built, resolved, stir, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.data.pack import Example, memory_of, pack
from tutelage.errors import ConfigError, RequestError, SourceError
from tutelage.models.catalogue import layout
from tutelage.models.forward import forward
from tutelage.objectives import clm
from tutelage.peft import METHODS
from tutelage.peft._method import Method, flag, settings_of
from tutelage.peft._wrapped import Kept
from tutelage.peft.layout import BASE
from tutelage.peft.open import method_of, open_adapter
from tutelage.train.loop import loss_of

NAMES = METHODS.names()
ADAPTERS = [name for name in NAMES if METHODS.get(name).adapter]
VIRTUAL = ("p-tuning", "prefix-tuning", "prompt-tuning")
MERGEABLE = [name for name in ADAPTERS if METHODS.get(name).merge is not None]
GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "initializer_range": 0.2}
PAIR = {
    "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip


def base(kind: str) -> PreTrainedModel:
    if kind == "llama":
        return their_llama(6)
    if kind == "gpt2":
        found: PreTrainedModel = twins(GPT2LMHeadModel, GPT2Config, seed=6, **GPT2)[0]
        return found
    pair: PreTrainedModel = twins(T5, T5Config, seed=6, **PAIR)[0]
    return pair


@pytest.fixture(scope="module", params=["llama", "gpt2", "t5"])
def checkpoint(request: pytest.FixtureRequest) -> Any:
    return checkpoint_of(base(request.param))


@pytest.fixture(scope="module")
def llama() -> Any:
    return checkpoint_of(base("llama"))


def rows(model: Any) -> list[Example]:
    examples = examples_of(9, count=4)
    if getattr(model, "encoder", None) is not None:
        examples = [Example.pair(e.ids, e.labels, model.start) for e in examples]
    return behind(model, examples)


def logits(model: Any) -> torch.Tensor:
    examples = rows(model)
    memory = memory_of(examples) if examples[0].memory else None
    with torch.inference_mode():
        return model.logits(forward(model, pack(examples), memory))


@pytest.mark.parametrize("name", NAMES)
def test_attaching_changes_nothing_and_trains_what_is_counted(name: str, checkpoint: Any) -> None:
    method: Method = METHODS.get(name)
    plain, model = built(name, checkpoint), built(name, checkpoint)
    settings = attached(name, model, checkpoint)
    if name not in VIRTUAL:
        assert (logits(model) - logits(plain)).abs().max() < 1e-5
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in trained)
    count = sum(p.numel() for p in trained)
    weights = layout(checkpoint.config)
    assert count == method.count(weights, settings) == method.cost(weights, settings).trained > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_gradients_reach_all_that_is_trained_and_nothing_else(name: str, dtype: str) -> None:
    checkpoint = checkpoint_of(base("gpt2"))
    model = built(name, checkpoint, dtype)
    attached(name, model, checkpoint)
    stir(model, 0.05)  # away from the start, where some gradients are zero
    our_loss(model, behind(model, examples_of(9))).total.backward()
    for path, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, path
        if parameter.grad is not None:
            assert parameter.grad.abs().max() > 0, path


@pytest.mark.parametrize("name", NAMES)
def test_packed_rows_do_not_see_each_other(name: str, checkpoint: Any) -> None:
    model, _ = tuned(name, checkpoint, size=0.1)
    model.eval()
    with torch.no_grad():
        together = clm_loss(model, rows(model))
        alone = sum(clm_loss(model, [row]) for row in rows(model))
    assert together == pytest.approx(alone, rel=1e-4)


def clm_loss(model: Any, examples: list[Example]) -> float:
    """The sum of the trained tokens' losses."""
    return float(loss_of(model, examples, clm.loss).total)


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_written_gives_the_same_again(name: str, checkpoint: Any, tmp_path: Path) -> None:
    method: Method = METHODS.get(name)
    model, settings = tuned(name, checkpoint, size=0.1)
    method.write(model, checkpoint, settings, tmp_path)
    assert method_of(tmp_path) is method and method.read is not None
    again = built(name, checkpoint)
    method.read(again, checkpoint, tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert not any(p.requires_grad for p in again.parameters())
    assert (logits(built(name, checkpoint)) - logits(model)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ADAPTERS)
def test_detaching_gives_the_model_back_bit_for_bit(name: str, checkpoint: Any) -> None:
    method: Method = METHODS.get(name)
    plain = built(name, checkpoint)
    model, _ = tuned(name, checkpoint)
    assert method.detach is not None
    method.detach(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    state, before = (
        {**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (model, plain)
    )
    assert set(state) == set(before)
    assert all(torch.equal(value, state[key]) for key, value in before.items())
    assert {type(m) for m in model.modules()} == {type(m) for m in plain.modules()}


@pytest.mark.parametrize("name", MERGEABLE)
def test_merged_equals_attached_and_is_undone_bit_for_bit(name: str, checkpoint: Any) -> None:
    method: Method = METHODS.get(name)
    model, _ = tuned(name, checkpoint, size=0.1)
    before = logits(model)
    kept = Kept(model)
    assert method.merge is not None
    method.merge(model)
    assert (logits(model) - before).abs().max() < 1e-4
    assert {type(m) for m in model.modules()} == {type(m) for m in build(checkpoint).modules()}
    kept.restore(model)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["lora", "dora", "vera", "ia3"])
def test_an_undone_merge_leaves_the_weights_bit_for_bit(name: str, dtype: str, llama: Any) -> None:
    """In 16 bits subtracting what was added would not."""
    plain, model = build(llama, dtype), build(llama, dtype)
    attached(name, model, llama)
    stir(model)
    kept, method = Kept(model), METHODS.get(name)
    method.merge(model)
    moved = [
        not torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True)
    ]
    assert any(moved)
    kept.restore(model)
    method.detach(model)
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ADAPTERS)
def test_another_base_is_refused(name: str, llama: Any, tmp_path: Path) -> None:
    method: Method = METHODS.get(name)
    model, settings = tuned(name, llama)
    method.write(model, llama, settings, tmp_path)
    other = checkpoint_of(their_llama(7))
    untouched = built(name, other)
    before = logits(untouched)
    with pytest.raises(SourceError, match="another model") as caught:
        open_adapter(untouched, other, tmp_path)
    assert caught.value.field == str(tmp_path / BASE)
    (tmp_path / BASE).unlink()
    wide = checkpoint_of(their_llama(hidden_size=48))
    model = built(name, wide)
    with pytest.raises(SourceError, match="another shape"):
        open_adapter(model, wide, tmp_path)
    assert torch.equal(logits(untouched), before)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_start(name: str, llama: Any) -> None:
    starts = []
    for seed in (1, 1, 2):
        model = built(name, llama)
        attached(name, model, llama, seed)
        starts.append([p.detach().clone() for p in model.parameters()])
        starts[-1] += [b.detach().clone() for b in model.buffers()]
    assert all(torch.equal(a, b) for a, b in zip(starts[0], starts[1], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_what_a_method_does_not_know_is_refused_by_its_flag(name: str) -> None:
    method: Method = METHODS.get(name)
    with pytest.raises(ConfigError, match=f"{name} has no --colour") as caught:
        settings_of(method, {"colour": "red"})
    assert caught.value.field == "--colour"
    for setting in method.settings.model_fields:
        with pytest.raises(ConfigError) as wrong:
            settings_of(method, {setting: object()})
        assert wrong.value.field == flag(setting)


LIMITS = [
    *((name, {"rank": 57}, "--rank") for name in ("adapter", "pfeiffer", "parallel")),
    *((name, {"rank": 17}, "--rank") for name in ("lora", "dora", "vera")),
    *((name, {"rank": 0}, "--rank") for name in ("lora", "dora", "vera", "adapter")),
    *((name, {"roles": ("attn.qq",)}, "--role") for name in
      ("lora", "qlora", "dora", "vera", "ia3", "adapter", "roles", "bitfit")),
    *((name, {"layers": (3,)}, "--layer") for name in
      ("lora", "dora", "vera", "ia3", "adapter", "pfeiffer", "parallel", "roles")),
    *((name, {"tokens": 63}, "--tokens") for name in VIRTUAL),
    *((name, {"tokens": 0}, "--tokens") for name in VIRTUAL),
    ("p-tuning", {"hidden": 0}, "--hidden"),
    ("prefix-tuning", {"hidden": 0}, "--hidden"),
    ("last-layers", {"last": 4}, "--last"),
    ("last-layers", {"last": 0}, "--last"),
    ("lora", {"dropout": 1.0}, "--dropout"),
    ("lora", {"alpha": 0.0}, "--alpha"),
    ("parallel", {"scale": -1.0}, "--scale"),
    ("qlora", {"bits": 3}, "--bits"),
    ("qlora", {"group": 5}, "--group"),
    ("qlora", {"group": 2048}, "--group"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "field"), LIMITS)
def test_what_does_not_fit_the_model_is_refused(
    name: str, options: dict[str, Any], field: str, llama: Any
) -> None:
    with pytest.raises(RequestError) as caught:
        resolved(name, llama.config, **options)
    assert caught.value.field == field and caught.value.expected


@pytest.mark.parametrize("name", [
    name for name in NAMES if {"roles", "layers"} <= set(METHODS.get(name).settings.model_fields)
])  # fmt: skip
def test_roles_that_are_in_none_of_the_layers_are_refused(name: str) -> None:
    """Of two stacks the first, layers 0 and 1, does not look across."""
    config = checkpoint_of(base("t5")).config
    resolved(name, config, roles=("cross.k",), layers=(1, 2))
    with pytest.raises(ConfigError) as caught:
        resolved(name, config, roles=("cross.k",), layers=(0, 1))
    error = caught.value
    assert (error.field, error.got) == ("--layer", "cross.k in 0, 1")
    assert error.expected == "one of 2, 3"


def test_closed_forms(llama: Any) -> None:
    """d = 32, keys 16, hidden 56, 3 layers, vocabulary 97."""
    weights = layout(llama.config)

    def count(name: str, **options: Any) -> int:
        found: int = METHODS.get(name).count(weights, resolved(name, llama.config, **options))
        return found

    inner = [(32, 32), (16, 32), (16, 32), (32, 32), (56, 32), (56, 32), (32, 56)]
    both, outs = sum(o + i for o, i in inner), sum(o for o, _ in inner)
    assert count("lora", rank=4) == 3 * 4 * both
    assert count("lora", rank=4, layers=(1,)) == 4 * both
    assert count("dora", rank=4) == 3 * (4 * both + outs)
    assert count("vera", rank=8) == 3 * (7 * 8 + outs)
    assert count("ia3") == 3 * (16 + 16 + 56)
    assert count("adapter", rank=8) == 2 * 3 * (2 * 8 * 32 + 8 + 32)
    assert count("pfeiffer", rank=8) == count("parallel", rank=8) == count("adapter", rank=8) // 2
    assert count("norms") == (2 * 3 + 1) * 32
    assert count("bitfit") == 3 * outs
    assert count("bitfit", roles=("attn.q",)) == 3 * 32
    assert count("embeddings") == 97 * 32
    layer = sum(o * i for o, i in inner) + 2 * 32
    assert count("last-layers") == layer + 32
    assert count("last-layers", last=2) == 2 * layer + 32
    assert count("roles") == 3 * (2 * 32 * 32 + 2 * 16 * 32)
    assert count("roles", roles=("norm",), layers=(0,)) == 2 * 32
    assert count("prompt-tuning", tokens=7) == 7 * 32
    assert count("p-tuning", tokens=7, hidden=11) == 7 * 32 + (
        32 * 11 + 11 * 11 + 11 * 32 + 2 * 11 + 32
    )
    assert count("prefix-tuning", tokens=7) == 2 * 3 * 7 * 16
    assert count("prefix-tuning", tokens=7, hidden=11) == 7 * 16 + 16 * 11 + 11 + 2 * 3 * 16 * 12


def test_gpt3_as_in_the_paper_of_lora() -> None:
    from tutelage.models.catalogue import find_preset

    config = find_preset("gpt3-175b")
    fused = resolved("lora", config, rank=8, roles=("attn.qkv",))
    assert METHODS.get("lora").count(layout(config), fused) == 96 * 8 * (12288 + 3 * 12288)


def test_a_model_with_biases_gets_no_more() -> None:
    checkpoint = checkpoint_of(their_llama(attention_bias=True))
    model, settings = tuned("bitfit", checkpoint)
    own = [path for path, p in model.named_parameters() if p.requires_grad]
    assert own and all(".attn." in path and path.endswith(".bias") for path in own)
    assert settings.roles == ("attn.q", "attn.k", "attn.v", "attn.o")


def test_a_kind_that_is_not_known_is_refused(llama: Any, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "HIRA"}')
    with pytest.raises(SourceError) as caught:
        method_of(tmp_path)
    assert caught.value.got == "HIRA" and "LORA" in str(caught.value.expected)


def test_what_is_dropped_is_dropped_in_training_alone(llama: Any) -> None:
    model, _ = tuned("lora", llama, dropout=0.5)
    model.eval()
    calm = logits(model)
    assert torch.equal(calm, logits(model))
    model.train()
    assert not torch.equal(logits(model), logits(model))
