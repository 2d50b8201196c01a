"""What every architecture promises, on its tiny presets: a new file is tested at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tutelage.checkpoints.build import build, hf_state
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.data.pack import Example, memory_of, pack
from tutelage.models.catalogue import ARCHITECTURES, layout, shape, spec_for
from tutelage.models.forward import forward
from tutelage.nn.linear import Linear
from tutelage.plan.parameters import CONSTANT, by_part, total

PRESETS = {
    name: spec
    for spec in (ARCHITECTURES.get(one) for one in ARCHITECTURES.names())
    for name in spec.presets
}
TINY = [name for name in PRESETS if name.endswith("-tiny")]
DECODERS = [name for name in TINY if PRESETS[name].family == "decoder"]


def vectors(model: Any, family: str, ids: tuple[int, ...]) -> torch.Tensor:
    """Vectors of all tokens of one row."""
    memory = ids if family == "encoder-decoder" else ()
    example = Example(ids, tuple(range(len(ids))), ids, memory=memory)
    read = memory_of([example]) if memory else None
    with torch.inference_mode():
        return forward(model, pack([example], share=False), read)


def test_every_architecture_has_a_tiny_preset() -> None:
    for name in ARCHITECTURES.names():
        assert any(preset.endswith("-tiny") for preset in ARCHITECTURES.get(name).presets), name


@pytest.mark.parametrize("name", TINY)
def test_the_count_is_the_built_models(name: str) -> None:
    checkpoint = open_checkpoint(f"preset:{name}")
    weights = [weight for weight in layout(checkpoint.config) if weight.role != CONSTANT]
    built = dict(build(checkpoint).named_parameters())
    assert {weight.path for weight in weights} == set(built)
    for weight in weights:
        assert tuple(built[weight.path].shape) == weight.shape
    assert total(weights) == sum(value.numel() for value in built.values())
    assert sum(by_part(weights).values()) == total(weights)
    assert len({weight.hf_name for weight in weights}) == len(weights)


@pytest.mark.parametrize("name", TINY)
def test_every_linear_map_has_the_role_its_weight_has(name: str) -> None:
    checkpoint = open_checkpoint(f"preset:{name}")
    roles = {weight.path: weight.role for weight in layout(checkpoint.config)}
    for path, module in build(checkpoint).named_modules():
        if isinstance(module, Linear):
            assert module.role == roles[f"{path}.weight"]


@pytest.mark.parametrize("name", TINY)
def test_the_shape_is_the_built_models(name: str) -> None:
    checkpoint = open_checkpoint(f"preset:{name}")
    found, model = shape(checkpoint.config), build(checkpoint)
    assert found.layers == model.layers
    assert found.kv_heads in (0, model.heads.key_value) and found.heads in (0, model.heads.query)
    assert model.context in (found.context, None) or found.context is None


@pytest.mark.parametrize("name", TINY)
def test_saved_and_opened_it_is_the_same(name: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(f"preset:{name}", seed=5)
    family = spec_for(checkpoint.config).family
    model = build(checkpoint)
    save_folder(hf_state(model, checkpoint), checkpoint, tmp_path / "saved", dtype="float32")
    again = build(open_checkpoint(str(tmp_path / "saved")))
    ids = (7, 100, 33, 201, 5)
    assert torch.equal(vectors(model, family, ids), vectors(again, family, ids))


@pytest.mark.parametrize("name", DECODERS)
def test_no_decoder_sees_what_comes_later(name: str) -> None:
    model = build(open_checkpoint(f"preset:{name}", seed=6))
    ids = tuple(range(40, 100))
    other = (*ids[:30], *reversed(ids[30:]))
    before, after = vectors(model, "decoder", ids)[:30], vectors(model, "decoder", other)[:30]
    assert (before - after).abs().max() < 1e-5


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_read_without_building(name: str) -> None:
    config = open_checkpoint(f"preset:{name}").config
    assert spec_for(config) is PRESETS[name]
    assert shape(config).layers > 0 and total(layout(config)) > 0
