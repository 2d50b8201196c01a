"""Memory by component against closed forms and published figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.parity.tuned import resolved
from tutelage.errors import ConfigError, UnknownName
from tutelage.models.catalogue import find_preset, layout
from tutelage.peft import METHODS
from tutelage.plan.activations import Batch, attention_workspace, saved_bytes
from tutelage.plan.memory import (
    RETAINED,
    Tuning,
    by_name,
    per_device,
    rule,
    stored,
    training_components,
)
from tutelage.plan.parameters import dimensions, lora_parameters

SMOLLM = layout(find_preset("smollm2-135m"))
COUNT = 134_515_008
HEAD = 49152 * 576
BIN = Batch(tokens=2048, labels=300, row_tokens=512, heads=9)


def cost(name: str, **options: Any) -> Tuning:
    """What a method costs on SmolLM2."""
    settings = resolved(name, find_preset("smollm2-135m"), **options)
    found: Tuning = METHODS.get(name).cost(SMOLLM, settings)
    return found


FULL, LORA = cost("full"), cost("lora")


def predicted(tuning: Tuning, batch: Batch = BIN, **more: Any) -> dict[str, int]:
    """SmolLM2's training by component."""
    return by_name(training_components(SMOLLM, tuning, batch, **more))


@pytest.mark.parametrize(
    ("name", "parameters", "gigabytes"),
    [
        ("course-24", 10**9, 24),
        ("course-24", 175 * 10**9, 4200),
        ("course-24", 500 * 10**9, 12000),
        ("mixed-16", 175 * 10**9, 2800),
    ],
)
def test_rules_give_the_published_sums(name: str, parameters: int, gigabytes: int) -> None:
    assert sum(part.bytes for part in rule(name, parameters)) == gigabytes * 10**9


@pytest.mark.parametrize(
    ("precision", "gigabytes"), [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1), ("int4", 0.5)]
)
def test_storing_a_billion_parameters(precision: str, gigabytes: float) -> None:
    assert [part.bytes for part in stored(10**9, precision)] == [gigabytes * 1e9]


@pytest.mark.parametrize(
    ("name", "stage", "devices", "factor"),
    [
        ("mixed-16", 1, 64, 16 / (4 + 12 / 64)),
        ("mixed-16", 2, 64, 16 / (2 + 14 / 64)),
        ("mixed-16", 3, 64, 64),
        ("course-24", 1, 10**6, 1.5),
        ("course-24", 2, 10**6, 2.0),
        ("mixed-16", 0, 64, 1),
    ],
)
def test_zero_divides_what_its_stage_divides(
    name: str, stage: int, devices: int, factor: float
) -> None:
    components = {part.name: part.bytes for part in rule(name, 64 * 10**9)}
    whole = sum(components.values())
    assert whole / per_device(components, stage, devices) == pytest.approx(factor, rel=1e-4)


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(UnknownName, match="unknown rule"):
        rule("course-25", 1)
    with pytest.raises(UnknownName, match="unknown precision"):
        stored(1, "fp8")
    with pytest.raises(ConfigError, match="ZeRO"):
        per_device({"weights": 1}, 4, 2)
    with pytest.raises(ConfigError, match="device"):
        per_device({"weights": 1}, 1, 0)


def test_full_tuning_by_component() -> None:
    found = predicted(FULL, BIN, calibration=1.0)
    everywhere = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.gate", "mlp.up", "mlp.down")
    assert found == {
        "weights": 4 * COUNT,
        "copies": 2 * COUNT,
        "gradients": 8 * HEAD,
        "optimizer": 8 * COUNT,
        "activations": saved_bytes(dimensions(SMOLLM), BIN, everywhere),
        "workspace": attention_workspace(dimensions(SMOLLM), BIN),
        "logits": 8 * 256 * 49152,
    }


def test_a_second_batch_meets_the_gradients_of_the_first() -> None:
    one, two = (predicted(FULL, replace(BIN, batches=count)) for count in (1, 2))
    assert two["gradients"] == 4 * COUNT + 4 * HEAD
    assert {k: v for k, v in one.items() if k != "gradients"} == {
        k: v for k, v in two.items() if k != "gradients"
    }


def test_what_an_earlier_update_freed_is_held_as_its_gradients_were() -> None:
    assert predicted(FULL, replace(BIN, again=True)) == predicted(FULL, replace(BIN, batches=2))
    assert predicted(LORA, replace(BIN, again=True)) == predicted(LORA, BIN)


def test_a_small_batch_peaks_when_all_gradients_are_there() -> None:
    found = predicted(FULL, replace(BIN, tokens=16, labels=4))
    assert found["gradients"] == 4 * COUNT + 4 * HEAD
    assert "activations" not in found and "copies" not in found


def test_float32_needs_no_copies() -> None:
    found = predicted(FULL, replace(BIN, compute_bytes=4))
    assert "copies" not in found


def test_low_rank_tuning_trains_the_adapter_alone() -> None:
    tuning = cost("lora", rank=8, roles=("attn.q", "attn.v"))
    trained = lora_parameters(SMOLLM, 8, tuning.roles)
    found = predicted(tuning, BIN)
    assert trained == 30 * 8 * (576 + 576 + 576 + 192) == 460_800
    assert found["weights"] == 2 * COUNT
    assert (found["adapter"], found["gradients"], found["optimizer"]) == (
        4 * trained,
        4 * trained,
        8 * trained,
    )


def test_calibration_moves_what_is_estimated_and_nothing_exact() -> None:
    plain, raised = (predicted(LORA, BIN, calibration=factor) for factor in (1.0, 1.5))
    moved = {name for name in plain if plain[name] != raised[name]}
    assert moved == {"activations"}
    assert raised["activations"] == round(1.5 * plain["activations"])


def test_the_default_calibration_is_the_measured_one() -> None:
    exact = predicted(LORA, BIN, calibration=1.0)["activations"]
    default = predicted(LORA, BIN)["activations"]
    assert default == round(exact * RETAINED)


def test_logits_exist_a_chunk_at_a_time() -> None:
    each = [
        [
            predicted(tuning, Batch(4096, labels, 512, heads=9, chunk=512))["logits"]
            for labels in (64, 512, 4096)
        ]
        for tuning in (FULL, LORA)
    ]
    assert each[0][0] < each[0][1] == each[0][2], "a chunk's gradient is as large as the head"
    assert each[1][0] == each[1][1] == each[1][2] == each[0][0], "none of a head that is frozen"


def test_checkpointing_saves_most_activations() -> None:
    kept, again = (predicted(LORA, replace(BIN, checkpointing=flag)) for flag in (False, True))
    assert again.pop("activations") < kept.pop("activations") / 5
    assert again == kept
    full = predicted(FULL, replace(BIN, checkpointing=True))
    assert sum(full.values()) < sum(predicted(FULL, BIN).values())


def test_what_runs_already_is_counted_if_given() -> None:
    assert predicted(LORA, BIN, runtime_bytes=7)["runtime"] == 7


def test_every_component_says_how_it_was_computed() -> None:
    parts = training_components(SMOLLM, FULL, BIN)
    assert all(any(c.isdigit() for c in part.formula) for part in parts)
