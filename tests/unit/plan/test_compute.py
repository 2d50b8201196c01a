"""FLOPs by convention, against sums over a model's matrices and published totals."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.pack import Example
from tutelage.errors import ConfigError, UnknownName
from tutelage.models.catalogue import find_preset, layout, shape, spec_for
from tutelage.nn.attend import mask_of
from tutelage.nn.attention import Attention
from tutelage.plan.compute import mfu, of_model, of_parameters, petaflop_s_days, seconds
from tutelage.plan.devices import DEVICES, device
from tutelage.plan.parameters import active, total
from tutelage.pretrain.compute import flops_of, flops_per_token, multiplied

GPT3 = find_preset("gpt3-175b")
L, C, T = 96, 12288, 2048


def test_gpt3_by_six_n_d() -> None:
    assert petaflop_s_days(of_parameters(174.6e9).flops * 300e9) == pytest.approx(3637.5)


def test_the_default_is_what_pretraining_measures_with() -> None:
    for name in ("gpt2", "llama3-8b", "smollm2-135m"):
        config = find_preset(name)
        found = of_model(layout(config), shape(config), 512)
        assert found.flops == flops_per_token(layout(config), shape(config), 512)


def test_a_model_without_heads_has_no_square_of_attention() -> None:
    config = find_preset("lstm-small")
    weights, found = layout(config), shape(config)
    of_a_row = flops_of(weights, found, Example.read(range(512)))
    head = 6 * found.vocabulary * found.width * 511  # whose last token alone has scores
    for convention in ("6n", "causal", "palm"):
        counted = of_model(weights, found, 512, convention)
        assert counted.flops * 512 == of_a_row + head == flops_per_token(weights, found, 512) * 512
        assert "+" not in counted.formula


@pytest.mark.parametrize("name", ["window-tiny", "strided-tiny", "blocks-tiny", "mistral-tiny"])
def test_a_pattern_costs_the_pairs_it_shows(name: str) -> None:
    """Against every entry of the mask that is built."""
    config = find_preset(name)
    weights, found = layout(config), shape(config)
    spec, length = spec_for(config), 300
    built = spec.build(spec.read(config))
    places, seen = torch.arange(length), 0
    for part in built.modules():
        if isinstance(part, Attention):
            mask = mask_of(part.rule, places[None], places, torch.float32)
            seen += int(mask.isfinite().sum())
    matrices = 6 * multiplied(weights, found)
    whole = length * (length + 1) / 2
    expected = matrices + 6 * length * 64 * seen / whole  # heads of 64 together
    assert seen < whole
    assert of_model(weights, found, length).flops == pytest.approx(expected)
    assert of_model(weights, found, length).keys_seen == pytest.approx(seen / (2 * length))
    assert flops_per_token(weights, found, length) == pytest.approx(expected, abs=6)
    head = 6 * found.vocabulary * found.width * (length - 1)
    row = flops_of(weights, found, Example.read(range(length))) + head
    assert row == pytest.approx(length * expected, abs=6)


def test_a_window_as_wide_as_the_row_is_none() -> None:
    config = find_preset("mistral-tiny")
    wide, full = ({**config, "sliding_window": size} for size in (300, None))
    costs = [of_model(layout(c), shape(c), 300) for c in (wide, full)]
    assert costs[0] == costs[1] and costs[0].keys_seen == 150.5


def test_of_experts_those_count_that_a_token_meets() -> None:
    """Mixtral 8x7B by hand: two of eight experts, 12.9B of 46.7B parameters (Jiang et al. 2024)."""
    config = find_preset("mixtral-8x7b")
    width, hidden, vocabulary = 4096, 14336, 32000
    attention = 2 * width * width + 2 * width * 1024
    expert, router = 3 * width * hidden, 8 * width
    met = 32 * (attention + router + 2 * expert) + vocabulary * width
    norms = (2 * 32 + 1) * width
    assert active(layout(config)) == met + vocabulary * width + norms == 12_879_925_248
    assert total(layout(config)) == active(layout(config)) + 32 * 6 * expert == 46_702_792_704
    assert of_model(layout(config), shape(config), 512, "6n").flops == 6 * met
    assert flops_per_token(layout(config), shape(config), 512) == 6 * (met + 32 * 512 * width)


def test_a_switch_layer_costs_what_a_dense_one_does_and_its_router() -> None:
    """T5 with the same sizes, in either stack; every other layer has experts."""
    sparse, dense = find_preset("switch-base-8"), find_preset("t5-base")
    row = Example((1,) * 60, tuple(range(60)), (2,) * 60, memory=(3,) * 100)
    found, plain = (flops_of(layout(c), shape(c), row) for c in (sparse, dense))
    routers = 6 * 8 * 768  # six of twelve layers, eight scores a token
    assert found - plain == 6 * (60 + 100) * routers
    experts = (6 + 6) * 7 * 2 * 768 * 3072
    assert total(layout(sparse)) - active(layout(sparse)) == experts


def test_conventions_differ_by_what_they_say() -> None:
    flops = {
        name: of_model(layout(GPT3), shape(GPT3), T, name).flops
        for name in ("6n", "causal", "palm", "course")
    }
    assert flops["causal"] - flops["6n"] == 6 * L * T * C
    assert flops["palm"] - flops["6n"] == 12 * L * T * C
    # Taught: 2 x 4 L d^2 + 2 L T d + 2 x 8 L d^2 forward, three times that with the backward pass.
    assert flops["course"] == 3 * (2 * 4 * L * C**2 + 2 * L * T * C + 2 * 8 * L * C**2)
    # Without the head, and without biases and norms: the same matrices.
    head = 6 * 50257 * C
    assert flops["causal"] - head == pytest.approx(flops["course"], rel=1e-3)
    with pytest.raises(UnknownName, match="convention"):
        of_model(layout(GPT3), shape(GPT3), T, "chinchilla")


@pytest.mark.parametrize(
    ("name", "precision", "devices"),
    [("v100", None, 8.0), ("a100", "bf16", 3.2), ("a100", "tf32", 6.4), ("a100", "sparse", 1.6)],
)
def test_devices_of_a_petaflop(name: str, precision: str | None, devices: float) -> None:
    peak = device(name).peak(precision)
    assert 1e15 / peak == pytest.approx(devices, abs=0.05)
    assert seconds(8.64e19, peak) / 86_400 == pytest.approx(devices, abs=0.05)


def test_time_and_utilization_are_each_others_inverse() -> None:
    each = of_parameters(7e9).flops
    time = seconds(each * 1e9, 312e12, 64, mfu=0.4)
    assert mfu(1e9 / time, each, 312e12, 64) == pytest.approx(0.4)


def test_every_device_says_where_its_numbers_are_from() -> None:
    for one in DEVICES.values():
        assert one.source and one.attained_source and 0 < one.attained < 1
    with pytest.raises(UnknownName, match="device"):
        device("a1000")
    with pytest.raises(ConfigError) as raised:
        device("v100").peak("bf16")
    assert raised.value.field == "--precision"
