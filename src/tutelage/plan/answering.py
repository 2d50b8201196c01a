"""Memory of answering by component, before a model is opened. Bytes; GB = 1e9.

    answering_components(entries, "bf16", Held(sequences=64, tokens=320, shared=150))

Keys and values are kept of every sequence answered at once, and once of what all of them begin
with. Pure functions of shapes; how many are answered at once is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.plan.memory import BYTES, Component
from tutelage.plan.parameters import Dimensions, Entry, dimensions


@dataclass(frozen=True)
class Asked:
    """So many rows, none longer than `tokens`, question and answer together, after `shared` tokens
    that all of them begin with."""

    rows: int
    tokens: int
    shared: int = 0


@dataclass(frozen=True)
class Held:
    """What is kept at once: `sequences` of at most `tokens` each, question and answer together,
    after `shared` tokens that are kept once. `reading` tokens are computed at a time, all of the
    sequences' if None."""

    sequences: int = 1
    tokens: int = 2048
    shared: int = 0
    reading: int | None = None


def answering_components(entries: Sequence[Entry], precision: str, held: Held) -> list[Component]:
    """The parts of answering at its peak, with weights kept in `precision`."""
    sizes = dimensions(entries)
    low = int(max(BYTES[precision], 2))  # only weights are kept in less than half precision
    reading = held.reading or held.sequences * held.tokens
    widest = 2 * sizes.width + 2 * sizes.query + sizes.key + sizes.value + 3 * sizes.hidden
    return [
        Component(
            "weights",
            round(BYTES[precision] * sizes.parameters),
            f"{BYTES[precision]:g} x {sizes.parameters}",
        ),
        _kept(sizes, low, held),
        Component("activations", low * reading * widest, f"{low} x {reading} tokens x {widest}"),
        Component(
            "logits",
            4 * held.sequences * sizes.vocabulary,
            f"4 x {held.sequences} x {sizes.vocabulary} tokens known",
        ),
    ]


def _kept(sizes: Dimensions, low: int, held: Held) -> Component:
    width = sizes.layers * (sizes.key + sizes.value)
    tokens = held.sequences * held.tokens + held.shared
    text = f"{held.sequences} sequences x {held.tokens} tokens"
    if held.shared:
        text = f"({text} + {held.shared} of all)"
    layers = f"{sizes.layers} layers x ({sizes.key} + {sizes.value})"
    return Component("kv_cache", low * tokens * width, f"{low} x {text} x {layers}")
