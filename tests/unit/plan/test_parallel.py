"""Layouts: exact parts by hand, whole steps against what was published."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tutelage.errors import ConfigError
from tutelage.plan.devices import DEVICES
from tutelage.plan.parallel import (
    ACHIEVED_LINK,
    ALPHA,
    Job,
    Layout,
    all_reduce,
    bubble,
    held,
    layouts,
    step,
)

V100, A100, H100 = DEVICES["v100"], DEVICES["a100"], DEVICES["h100"]
SMALL = Job(params=7e9, layers=32, width=4096, heads=32, context=2048, batch=64)


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
@pytest.mark.parametrize("micro", [1, 3, 8])
def test_the_bubble_is_that_of_a_schedule_played_out(stages: int, micro: int) -> None:
    """Forward passes of M micro-batches through K stages, a clock tick each."""
    ends = [[0] * micro for _ in range(stages)]
    for stage in range(stages):
        for part in range(micro):
            before = ends[stage - 1][part] if stage else 0
            own = ends[stage][part - 1] if part else 0
            ends[stage][part] = max(before, own) + 1
    ticks = ends[-1][-1]
    assert bubble(stages, micro) == pytest.approx(1 - micro / ticks)
    assert bubble(4, 8, chunks=2) == 3 / 19


def test_an_all_reduce_is_two_rounds_of_a_ring() -> None:
    assert all_reduce(1e9, 1, 1e9) == 0
    expected = 2 * 3 * (ALPHA + 0.25e9 / (100e9 * ACHIEVED_LINK))
    assert all_reduce(1e9, 4, 100e9) == pytest.approx(expected)


def test_one_device_computes_and_sends_nothing() -> None:
    found = step(SMALL, Layout(1, micro_batches=64), H100)
    assert found.seconds == found.parts["computing"]
    flops = 6 * (7e9 + 32 * 2048 * 4096) * 64 * 2048
    assert found.seconds == pytest.approx(flops / (989.4e12 * H100.attained))


def test_memory_is_shared_as_zero_says() -> None:
    alone = held(SMALL, Layout(1))
    whole = [held(replace(SMALL, batch=64), Layout(64, zero=stage)) for stage in range(4)]
    states = [size - (alone - 16 * 7e9) / 64 for size in whole]
    assert [16 * 7e9 / size for size in states] == pytest.approx(
        [1, 16 / (4 + 12 / 64), 16 / (2 + 14 / 64), 64]
    )


def test_layouts_fit_and_are_ranked() -> None:
    found = layouts(SMALL, 64, A100)
    assert all(one.layout.devices == 64 for one in found)
    assert all(one.bytes_per_device < 80e9 for one in found)
    assert [one.seconds for one in found] == sorted(one.seconds for one in found)
    assert len({one.layout for one in found}) == len(found)
    with pytest.raises(ConfigError) as raised:
        layouts(replace(SMALL, params=1e12), 8, A100)
    assert raised.value.field == "--devices"


def near(got: float, published: float) -> None:
    """Within 25% of what was published."""
    assert published * 0.75 < got < published * 1.25, f"{got:.4g} against {published:.4g}"


def speed(job: Job, found: float) -> float:
    return 6 * job.params * job.batch * job.context / found


def test_megatron_lm() -> None:
    """8.3B on 512 V100, 8-way tensor and 64-way data: 15.1 PFLOP/s, 76% of 512 devices alone.

    Shoeybi et al. 2019, section 5.1; their count has the forward pass that is run again in it.
    """
    job = Job(8.3e9, 72, 3072, 24, 1024, 512, recompute="full")
    found = step(job, Layout(64, tensor=8), V100)
    again = 8 / 6
    near(speed(job, found.seconds) * again, 15.1e15)
    near(found.parts["computing"] / found.seconds, 0.76)


def test_zero() -> None:
    """100B on 400 V100, 16-way model parallel: 15 PFLOP/s (Rajbhandari et al. 2020, 10.2)."""
    job = Job(100e9, 125, 8192, 64, 1024, 800, recompute="full")
    found = step(job, Layout(25, tensor=16, zero=2), V100)
    near(speed(job, found.seconds) * 8 / 6, 15e15)


@pytest.mark.parametrize(
    ("data", "context_degree", "context", "published"),
    [(64, 1, 8192, 430e12), (128, 1, 8192, 400e12)],
)
def test_llama3_405b(data: int, context_degree: int, context: int, published: float) -> None:
    """TFLOP/s of a device: Llama 3, arXiv:2407.21783, table 4; 16 stages, interleaved."""
    job = Job(405e9, 128, 16384, 128, context, 2048, kv_share=1 / 16)
    layout = Layout(
        data,
        tensor=8,
        pipeline=16,
        context=context_degree,
        zero=1,
        micro_batches=2048 // data,
        chunks=8,
    )
    found = step(job, layout, H100)
    near(speed(job, found.seconds) / layout.devices, published)
