"""LoRA by itself: where it starts, what it trains, what it refuses. Against PEFT: tests/parity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity.test_peft import IDS, our_logits, ours_tuned
from tests.parity.tuned import attached, resolved
from tests.parity.witness import checkpoint_of, their_llama
from tutelage import store
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError, DamagedError, SourceError, UnknownName
from tutelage.models.catalogue import layout
from tutelage.peft import METHODS, lora
from tutelage.peft.actions import lora as actions
from tutelage.peft.layout import CONFIG, WEIGHTS


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return checkpoint_of(their_llama())


def test_an_unknown_method_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UnknownName) as caught:
        METHODS.get("lroa", field="--method")
    assert caught.value.hint == "did you mean 'lora'?"


def test_attaching_changes_nothing(checkpoint: Any) -> None:
    plain, wrapped = build(checkpoint), build(checkpoint)
    attached("lora", wrapped, checkpoint)
    assert torch.equal(our_logits(plain, IDS), our_logits(wrapped, IDS))


def test_the_start_follows_from_the_seed(checkpoint: Any) -> None:
    starts = []
    for seed in (0, 0, 1):
        model = build(checkpoint)
        attached("lora", model, checkpoint, seed, rank=4)
        starts.append([p.detach() for n, p in model.named_parameters() if n.endswith("lora_a")])
    assert all(torch.equal(a, b) for a, b in zip(starts[0], starts[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(starts[0], starts[2], strict=True))
    for start in starts[0]:
        bound = start.shape[1] ** -0.5
        assert start.abs().max() <= bound
        assert start.std() == pytest.approx(bound / 3**0.5, rel=0.2)  # of a uniform distribution


@pytest.mark.parametrize("roles", [None, ("attn.q",), ("mlp.up", "mlp.down", "attn.o")])
@pytest.mark.parametrize("rank", [1, 5])
def test_the_count_is_what_is_trained(
    checkpoint: Any, roles: tuple[str, ...] | None, rank: int
) -> None:
    weights = layout(checkpoint.config)
    model = build(checkpoint)
    settings = attached("lora", model, checkpoint, rank=rank, roles=roles)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == lora.count(weights, settings) > 0
    assert all(p.dtype == torch.float32 for p in trained)


def test_defaults_are_resolved(checkpoint: Any) -> None:
    settings = resolved("lora", checkpoint.config)
    assert settings.rank == lora.DEFAULT_RANK
    assert settings.alpha == 2 * lora.DEFAULT_RANK
    assert settings.roles == (
        "attn.q", "attn.k", "attn.v", "attn.o", "mlp.gate", "mlp.up", "mlp.down",
    )  # fmt: skip


@pytest.mark.parametrize("rank", [0, -1, 33])
def test_a_rank_that_is_none_is_refused(checkpoint: Any, rank: int) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved("lora", checkpoint.config, rank=rank)
    assert (caught.value.field, caught.value.got) == ("--rank", str(rank))
    assert caught.value.expected == "1 to 16"  # keys and values are 16 wide


@pytest.mark.parametrize("alpha", [0.0, -4.0, float("nan"), float("inf")])
def test_an_alpha_that_teaches_nothing_is_refused(checkpoint: Any, alpha: float) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved("lora", checkpoint.config, alpha=alpha)
    assert caught.value.field == "--alpha"


@pytest.mark.parametrize("role", ["attn.qq", "embed.position", "norm"])
def test_an_unknown_role_is_refused(checkpoint: Any, role: str) -> None:
    with pytest.raises(UnknownName) as caught:
        resolved("lora", checkpoint.config, roles=("attn.q", role))
    assert caught.value.field == "--role"
    assert caught.value.got == role


def test_the_adapter_in_16_bits_is_near(checkpoint: Any, tmp_path: Path) -> None:
    """A merged bfloat16 weight rounds the sum, an attached one the parts."""
    model, settings = ours_tuned(checkpoint, rank=4)
    actions.write(model, checkpoint, settings, tmp_path)
    expected = our_logits(model, IDS)
    narrow = build(checkpoint, "bf16")
    actions.read(narrow, checkpoint, tmp_path)
    attached = our_logits(narrow, IDS)
    actions.merge(narrow)
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}
    spread = float(expected.std())
    for got in (attached, our_logits(narrow, IDS)):
        assert (got - expected).abs().mean() < 0.05 * spread


@pytest.fixture
def adapter(checkpoint: Any, tmp_path: Path) -> Path:
    """A good adapter, to be spoiled."""
    model, settings = ours_tuned(checkpoint, rank=4)
    actions.write(model, checkpoint, settings, tmp_path / "adapter")
    return tmp_path / "adapter"


def edit_config(adapter: Path, **changes: Any) -> None:
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, **changes}))


def edit_weights(adapter: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(adapter / WEIGHTS)
    change(tensors)
    save_file(tensors, adapter / WEIGHTS)


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


def rename(old: str, new: str) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def put(name: str, *shape: int) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


SPOILED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "A too wide": put(f"{Q0}.lora_A.weight", 4, 33),
    "B too tall": put(f"{Q0}.lora_B.weight", 33, 4),
    "ranks differ": put(f"{Q0}.lora_B.weight", 32, 5),
    "A is a vector": put(f"{Q0}.lora_A.weight", 4),
    "B is a cube": put(f"{Q0}.lora_B.weight", 32, 4, 1),
    "a part is missing": lambda tensors: tensors.pop(f"{Q0}.lora_A.weight"),
    "a layer the model has not": lambda tensors: tensors.update(
        {
            f"base_model.model.model.layers.9.self_attn.q_proj.lora_{part}.weight": tensors.pop(
                f"{Q0}.lora_{part}.weight"
            )
            for part in "AB"
        }
    ),
    "another kind of weight": rename(f"{Q0}.lora_A.weight", f"{Q0}.lora_C.weight"),
    "another prefix": rename(f"{Q0}.lora_A.weight", f"model.{Q0}.lora_A.weight"),
    "nothing": lambda tensors: tensors.clear(),
}


@pytest.mark.parametrize("name", SPOILED)
def test_wrong_weights_are_named(checkpoint: Any, adapter: Path, name: str) -> None:
    edit_weights(adapter, SPOILED[name])
    with pytest.raises(SourceError) as caught:
        actions.read(build(checkpoint), checkpoint, adapter)
    assert WEIGHTS in str(caught.value.field)


def test_rank_zero_is_refused(checkpoint: Any, adapter: Path) -> None:
    def shrink(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"{Q0}.lora_A.weight"] = torch.zeros(0, 32)
        tensors[f"{Q0}.lora_B.weight"] = torch.zeros(32, 0)

    edit_weights(adapter, shrink)
    with pytest.raises(SourceError, match="another shape"):
        actions.read(build(checkpoint), checkpoint, adapter)


def test_a_rank_other_than_the_configuration_says_is_refused(
    checkpoint: Any, adapter: Path
) -> None:
    """The scale is alpha / R: which R was meant cannot be known. PEFT refuses too."""
    edit_config(adapter, r=8)
    with pytest.raises(SourceError) as caught:
        actions.read(build(checkpoint), checkpoint, adapter)
    assert caught.value.field == f"{adapter / CONFIG}: r"


@pytest.mark.parametrize("alpha", ["many", None, [8], True])
def test_an_alpha_that_is_no_number_is_refused(
    checkpoint: Any, adapter: Path, alpha: object
) -> None:
    edit_config(adapter, lora_alpha=alpha)
    with pytest.raises(SourceError) as caught:
        actions.read(build(checkpoint), checkpoint, adapter)
    assert caught.value.field == f"{adapter / CONFIG}: lora_alpha"


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"alpha_pattern": {"(q|k)_proj": 3}},
        {"a_setting_of_the_future": {"twist": 2}},
    ],
)
def test_settings_that_are_not_honoured_are_named(
    checkpoint: Any, adapter: Path, changes: dict[str, Any]
) -> None:
    edit_config(adapter, **changes)
    with pytest.raises(SourceError) as caught:
        actions.read(build(checkpoint), checkpoint, adapter)
    assert caught.value.field == f"{adapter / CONFIG}: {next(iter(changes))}"


def test_files_that_are_no_adapter(checkpoint: Any, adapter: Path, tmp_path: Path) -> None:
    model = build(checkpoint)
    with pytest.raises(SourceError, match="not an adapter"):
        actions.read(model, checkpoint, tmp_path)
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-7])
    with pytest.raises(DamagedError) as caught:
        actions.read(model, checkpoint, adapter)
    assert WEIGHTS in str(caught.value.field)
    (adapter / WEIGHTS).unlink()
    with pytest.raises(SourceError, match="lacks its weights"):
        actions.read(model, checkpoint, adapter)
    for text in ("[1, 2]", "3", "{"):
        (adapter / CONFIG).write_text(text)
        with pytest.raises((SourceError, DamagedError)) as wrong:
            actions.read(model, checkpoint, adapter)
        assert CONFIG in str(wrong.value.field)


def test_a_flipped_bit_is_found_by_the_manifest(
    checkpoint: Any, adapter: Path, tmp_path: Path
) -> None:
    sealed = tmp_path / "sealed"
    with store.new_folder(sealed) as inside:
        for file in adapter.iterdir():
            (inside / file.name).write_bytes(file.read_bytes())
    actions.read(build(checkpoint), checkpoint, sealed)
    content = bytearray((sealed / WEIGHTS).read_bytes())
    content[-3] ^= 4
    (sealed / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(DamagedError, match=WEIGHTS):
        actions.read(build(checkpoint), checkpoint, sealed)


def test_a_refused_adapter_leaves_the_model_alone(checkpoint: Any, adapter: Path) -> None:
    """The fault is in the last module; no earlier one may be wrapped already."""
    down = "base_model.model.model.layers.2.mlp.down_proj.lora_A.weight"
    edit_weights(adapter, put(down, 4, 99))
    model = build(checkpoint)
    before = our_logits(model, IDS)
    with pytest.raises(SourceError):
        actions.read(model, checkpoint, adapter)
    assert torch.equal(our_logits(model, IDS), before)
