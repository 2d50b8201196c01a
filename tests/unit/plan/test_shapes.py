"""Activations as taught and as published, parameters that tuning adds, and the cheat sheet."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import ConfigError, UnknownName
from tutelage.models.catalogue import find_preset, layout, shape
from tutelage.plan.activation_rules import course, korthikanti
from tutelage.plan.added import METHODS, Sizes, added
from tutelage.plan.lifecycle import Case, sheet

GPT3, LLAMA = layout(find_preset("gpt3-175b")), layout(find_preset("llama3-8b"))


def test_activations_of_gpt3() -> None:
    """275 GB against 29 GB; selective recomputation saves 70%, as the paper's figure has it."""
    of = shape(find_preset("gpt3-175b"))
    assert course(of, 1, 2048).bytes == pytest.approx(29.0e9, rel=1e-3)
    assert korthikanti(of, 1, 2048).bytes == pytest.approx(275.4e9, rel=1e-3)
    saved = 1 - korthikanti(of, 1, 2048, "selective").bytes / korthikanti(of, 1, 2048).bytes
    assert saved == pytest.approx(0.70, abs=0.01)
    # Equation 2: sbh L (10 + 24/t + 5 a s / (h t)).
    unit = 2048 * 12288 * 96
    assert korthikanti(of, 1, 2048, tensor=8).bytes == unit * (10 + 3 + 80 / 8)
    with pytest.raises(UnknownName):
        korthikanti(of, 1, 2048, "some")
    with pytest.raises(ConfigError):
        korthikanti(of, 1, 2048, tensor=5)


@pytest.mark.parametrize(
    ("method", "sizes", "parameters", "taught"),
    [
        ("lora", Sizes(rank=8, roles=("attn.o",)), 18_874_368, 4 * 96 * 12288 * 8),
        (
            "adapter",
            Sizes(rank=64),
            2 * 96 * (2 * 64 * 12288 + 64 + 12288),
            2 * 96 * (64 * 12288 + 64 + 12288),
        ),
        ("adapter-pfeiffer", Sizes(rank=64), 96 * (2 * 64 * 12288 + 64 + 12288), None),
        ("prefix", Sizes(tokens=20), 2 * 96 * 20 * 12288, 2 * 96 * 20 * 12288),
        (
            "prefix-mlp",
            Sizes(tokens=20, hidden=512),
            20 * 12288 + 12288 * 512 + 2 * 96 * 512 * 12288,
            None,
        ),
        ("prompt", Sizes(tokens=20), 20 * 12288, 20 * 12288),
    ],
)
def test_what_tuning_adds_to_gpt3(
    method: str, sizes: Sizes, parameters: int, taught: int | None
) -> None:
    found = added(GPT3, method, sizes)
    assert found.parameters == parameters
    assert taught is None or found.taught == taught
    assert found.share == parameters / 174_604_259_328


def test_an_adapter_that_is_built_has_what_is_counted() -> None:
    down, up = torch.nn.Linear(4096, 16), torch.nn.Linear(16, 4096)
    one = sum(p.numel() for part in (down, up) for p in part.parameters())
    assert added(LLAMA, "adapter", Sizes(rank=16)).parameters == 2 * 32 * one


def test_grouped_heads_make_prefixes_shorter_than_taught() -> None:
    found = added(LLAMA, "prefix", Sizes(tokens=10))
    assert found.parameters == 32 * 10 * 2 * 1024 == found.taught // 4


def test_names_are_checked() -> None:
    with pytest.raises(UnknownName, match="method"):
        added(GPT3, "lore", Sizes())
    with pytest.raises(UnknownName, match="role"):
        added(GPT3, "lora", Sizes(roles=("attn.q",)))
    assert set(METHODS) == {"lora", "adapter", "adapter-pfeiffer", "prefix", "prefix-mlp", "prompt"}


def test_the_sheet_orders_ways_by_what_they_cost() -> None:
    ways = {way["name"]: way for way in sheet(Case(1e9, 1e6, 1e6))}
    flops = [
        ways[name]["flops"]
        for name in ("prompting", "tuning (LoRA)", "tuning (full)", "pretraining")
    ]
    assert flops == [0, 4e15, 6e15, 6 * 1e9 * 20e9]
    twice = {way["name"]: way for way in sheet(Case(1e9, 1e6, 1e6, epochs=2))}
    assert twice["tuning (full)"]["flops"] == 2 * ways["tuning (full)"]["flops"]
    assert ways["tuning (LoRA)"]["bytes"] < ways["tuning (full)"]["bytes"]
