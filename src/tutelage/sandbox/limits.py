"""What a program may use, what became of it, and which layers of protection held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["finished", "failed", "timed out", "too much output"]

PROTECTIONS: Mapping[str, tuple[str, ...]] = {
    "network": ("network namespace", "seccomp"),
    "files": ("mount namespace", "landlock"),
    "processes": ("process namespace", "seccomp"),
    "resources": ("rlimits",),
}
"""What must hold, and the layers each of which makes it hold."""

LAYERS = tuple(dict.fromkeys(layer for layers in PROTECTIONS.values() for layer in layers))


@dataclass(frozen=True)
class Limits:
    """Caps of one program."""

    cpu_seconds: int = 10
    wall_seconds: float = 60.0
    """A backstop: on a busy machine honest programs wait for a processor."""
    memory_bytes: int = 1 << 29
    """Of addresses, the interpreter's own among them."""
    threads: int = 16
    output_bytes: int = 1 << 16
    """Of what it prints."""
    file_bytes: int = 1 << 24
    """Of its scratch folder, which is gone with it."""


@dataclass(frozen=True)
class Outcome:
    """`finished`: the program came to its end; leaving early, with whatever exit code, is failing.

    `missing` names the protections that no layer gave, which only `weak` allows.
    """

    status: Status
    stdout: str
    stderr: str
    seconds: float
    layers: tuple[str, ...]
    missing: tuple[str, ...]
