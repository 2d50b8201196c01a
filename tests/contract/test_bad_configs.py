"""A configuration that does not build names its field: on every architecture's tiny preset, every
field that stands in it or that its reader knows, with values that it cannot have."""

from __future__ import annotations

import contextlib
import copy
import math
from typing import Any

import pytest
import torch

from tests.contract.test_architectures import PRESETS, TINY, vectors
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import ConfigError, RequestError
from tutelage.models.catalogue import find_preset, spec_for
from tutelage.models.fields import COUNTS, LISTS, NUMBERS, OBJECTS, SIZES, STEPS, SWITCHES

IDS = frozenset({"bos_token_id", "eos_token_id", "pad_token_id", "seed"})
WRONG: tuple[Any, ...] = (-1, 0, 2.5, 1e300, 10**400, math.nan, True, "x", "64", [], [1], {"a": 1})


def fields(name: str) -> set[str]:
    """Those of a preset, of its own schema, and of Hugging Face that several readers look for."""
    config = find_preset(name)
    schema = vars(PRESETS[name].read(config))
    known = COUNTS | SIZES | STEPS | NUMBERS | SWITCHES | OBJECTS | LISTS
    return (set(config) | set(schema)) & known | OBJECTS | {"layer_types", "sliding_window"}


def opened(config: dict[str, Any]) -> None:
    """Everything that is asked of a configuration before its model is made."""
    spec = spec_for(config)
    made = spec.read(config)
    spec.shape(made)
    list(spec.layout(made))
    with torch.device("meta"):
        spec.build(made)


@pytest.mark.parametrize("name", TINY)
def test_no_value_of_a_field_is_a_defect(name: str) -> None:
    for field in sorted(fields(name)):
        for value in WRONG:
            config = {**copy.deepcopy(dict(find_preset(name))), field: value}
            with contextlib.suppress(RequestError):
                opened(config)


@pytest.mark.parametrize("name", TINY)
def test_every_number_of_a_tiny_preset_is_looked_at(name: str) -> None:
    for field, value in find_preset(name).items():
        if isinstance(value, bool):
            assert field in SWITCHES | {"is_encoder_decoder"}, field
        elif isinstance(value, int | float):
            assert field in COUNTS | SIZES | STEPS | NUMBERS | IDS, field


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("value", [-1, 0, "x", 1.5, 10**12])
def test_the_field_is_named(name: str, value: Any) -> None:
    layers = next(iter(set(find_preset(name)) & COUNTS))
    with pytest.raises(ConfigError) as caught:
        spec_for({**find_preset(name), layers: value})
    assert caught.value.field == f"config.json: {layers}"
    assert caught.value.got == repr(value)


@pytest.mark.parametrize("name", TINY)
def test_what_is_taken_computes(name: str) -> None:
    """A size of one or three is either refused or read, computed with and finite."""
    family = PRESETS[name].family
    for field in sorted(fields(name) & (COUNTS | SIZES) - {"vocab_size"}):
        for value in (1, 3):
            checkpoint = open_checkpoint(f"preset:{name}")
            changed = {**checkpoint.config, field: value}
            try:
                model = PRESETS[name].build(PRESETS[name].read(changed))
            except RequestError:
                continue
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.02)
            ids = (7,) if "position" in field else (7, 100, 33, 20, 5)
            assert vectors(model, family, ids).isfinite().all(), (field, value)


def test_a_field_of_null_is_one_left_out() -> None:
    spec_for({**find_preset("llama-tiny"), "head_dim": None, "rope_scaling": None})
