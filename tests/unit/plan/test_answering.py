"""Memory of answering by component, against the tensors it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tutelage.models.catalogue import find_preset, layout
from tutelage.plan.answering import Held, answering_components, reading_components

SMOLLM = layout(find_preset("smollm2-135m"))
COUNT = 134_515_008


def predicted(precision: str, held: Held) -> dict[str, int]:
    return {part.name: part.bytes for part in answering_components(SMOLLM, precision, held)}


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float)])
def test_the_cache_is_as_large_as_the_tensors_it_holds(precision: str, dtype: torch.dtype) -> None:
    own = [torch.empty(4, 3, 300, 64, dtype=dtype, device="meta") for _ in range(2 * 30)]
    first = [torch.empty(3, 50, 64, dtype=dtype, device="meta") for _ in range(2 * 30)]
    found = predicted(precision, Held(sequences=4, tokens=300, shared=50))
    assert found["kv_cache"] == sum(tensor.nbytes for tensor in own + first)
    assert found["weights"] == COUNT * dtype.itemsize
    assert found["logits"] == 4 * 4 * 49152


def test_reading_in_parts_computes_less_at_a_time() -> None:
    held = Held(sequences=8, tokens=1000)
    whole, parts = predicted("bf16", held), predicted("bf16", replace(held, reading=2000))
    assert whole.pop("activations") == 4 * parts.pop("activations")
    assert whole == parts


def test_a_state_is_kept_in_the_place_of_keys_and_values() -> None:
    short, long = (predicted("bf16", Held(3, tokens, state=1000)) for tokens in (10, 1000))
    assert short["kv_cache"] == long["kv_cache"] == 3000


def test_quantized_weights_keep_a_half_precision_cache() -> None:
    low, half = predicted("int4", Held()), predicted("bf16", Held())
    assert low["weights"] == COUNT // 2
    assert low["kv_cache"] == half["kv_cache"]


@pytest.mark.parametrize("held", [Held(), Held(shared=9)])
def test_every_component_says_how_it_was_computed(held: Held) -> None:
    for part in answering_components(SMOLLM, "bf16", held):
        assert any(character.isdigit() for character in part.formula)


def test_an_encoder_keeps_nothing_of_what_it_reads() -> None:
    entries = layout(find_preset("bert-base"))
    found = {part.name: part.bytes for part in reading_components(entries, "fp32", 1024)}
    assert found.keys() == {"weights", "activations"}
    assert found["weights"] == 4 * 109_482_240
    twice = {part.name: part.bytes for part in reading_components(entries, "bf16", 2048)}
    assert twice["activations"] == found["activations"]
