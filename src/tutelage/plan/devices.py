"""Devices as their makers publish them: dense peaks by number format, memory, links.

    device("a100").peak("bf16")          312e12 FLOP/s

Peaks are dense: with the published 2:4 sparsity they are twice as high, which only weights pruned
to that pattern reach. `attained` is the share of the bf16 (V100: fp16) peak that whole layers reach
on one device before anything is sent to another, as published measurements have it. Links are
bytes a second of one device in one direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.errors import ConfigError, UnknownName


@dataclass(frozen=True)
class Device:
    """One accelerator, and the node it usually stands in."""

    name: str
    memory_bytes: float
    bandwidth_bytes_per_second: float
    peaks: Mapping[str, float]
    """FLOP/s by format, dense."""
    node: int
    """Devices joined by the fast link."""
    link: float
    """Bytes a second to a device of the same node, one direction."""
    network: float
    """Bytes a second to another node, one direction, this device's share."""
    attained: float
    source: str
    attained_source: str

    def format(self, asked: str | None = None) -> str:
        """The format computed in: what was asked for, else the usual one of training.

        Raises ConfigError where the device has no units for it.
        """
        name = asked or next(known for known in ("bf16", "fp16", "fp32") if known in self.peaks)
        if name not in self.peaks:
            raise ConfigError(
                f"{self.name} has no peak in this format",
                field="--precision",
                got=name,
                expected=" or ".join(self.peaks),
            )
        return name

    def peak(self, asked: str | None = None) -> float:
        """FLOP/s in a format; see `format`."""
        return self.peaks[self.format(asked)]


MEGATRON = "39 of 125 TFLOP/s on one device, Shoeybi et al. 2019, arXiv:1909.08053, section 5.1"
NARAYANAN = "44 to 52% with all communication, Narayanan et al. 2021, arXiv:2104.04473, table 1"
HOPPER = "about what is left of 38 to 43% without bubble and messages, Llama 3, arXiv:2407.21783"

DEVICES = {
    one.name: one
    for one in (
        Device(
            "v100", 32e9, 900e9, {"fp16": 125e12, "fp32": 15.7e12}, 16, 150e9, 6.25e9, 0.312,
            "NVIDIA V100 datasheet; DGX-2: 16 devices, 8 x 100 Gb/s", MEGATRON,
        ),
        Device(
            "a100", 80e9, 2039e9,
            {"bf16": 312e12, "fp16": 312e12, "tf32": 156e12, "fp32": 19.5e12, "sparse": 624e12},
            8, 300e9, 25e9, 0.57,
            "NVIDIA A100 80GB datasheet: NVLink 600 GB/s both ways, PCIe 4 64 GB/s", NARAYANAN,
        ),
        Device(
            "a100-40", 40e9, 1555e9,
            {"bf16": 312e12, "fp16": 312e12, "tf32": 156e12, "fp32": 19.5e12, "sparse": 624e12},
            8, 300e9, 25e9, 0.57, "NVIDIA A100 40GB datasheet", NARAYANAN,
        ),
        Device(
            "h100", 80e9, 3350e9,
            {
                "bf16": 989.4e12, "fp16": 989.4e12, "tf32": 494.7e12, "fp32": 67e12,
                "fp8": 1978.9e12, "sparse": 1978.9e12,
            },
            8, 450e9, 50e9, 0.55, "NVIDIA H100 SXM datasheet", HOPPER,
        ),
        Device(
            "h200", 141e9, 4800e9,
            {
                "bf16": 989.4e12, "fp16": 989.4e12, "tf32": 494.7e12, "fp32": 67e12,
                "fp8": 1978.9e12, "sparse": 1978.9e12,
            },
            8, 450e9, 50e9, 0.55, "NVIDIA H200 SXM datasheet", HOPPER,
        ),
        Device(
            "tpu-v4", 32e9, 1200e9, {"bf16": 275e12}, 4, 50e9, 50e9, 0.57,
            "Jouppi et al. 2023, arXiv:2304.01433, table 4",
            "46% with all communication, Chowdhery et al. 2022, arXiv:2204.02311, table 3",
        ),
    )
}  # fmt: skip


def device(name: str) -> Device:
    """The device of this name. Raises UnknownName with a suggestion."""
    if name not in DEVICES:
        raise UnknownName("device", name, DEVICES, field="--device")
    return DEVICES[name]
