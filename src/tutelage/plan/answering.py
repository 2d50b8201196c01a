"""Memory of answering by component, before a model is opened. Bytes; GB = 1e9.

    answering_components(entries, "bf16", Held(sequences=64, tokens=320, shared=150))

Keys and values are kept of every sequence answered at once, and once of what all of them begin
with; of a model that remembers a state as many bytes whatever the length; of texts that an encoder
reads nothing. Pure functions of shapes; how many are answered at once is the engine's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.plan.memory import BYTES, Component
from tutelage.plan.parameters import Dimensions, Entry, dimensions

SCALE_BYTES = 4
"""Of a key, or value, of one head in 8 bits."""


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
    sequences' if None. Keys and values of `narrow` heads are in 8 bits with a scale each; 0: in
    the type computed in. `state` are the bytes of a sequence that are kept in their place, whatever
    its length, by a model that remembers so; 0 by others."""

    sequences: int = 1
    tokens: int = 2048
    shared: int = 0
    reading: int | None = None
    narrow: int = 0
    state: int = 0


def answering_components(entries: Sequence[Entry], precision: str, held: Held) -> list[Component]:
    """The parts of answering at its peak, with weights kept in `precision`."""
    sizes = dimensions(entries)
    low = _compute_bytes(precision)
    reading = held.reading or held.sequences * held.tokens
    return [
        _weights(sizes, precision),
        _kept(sizes, low, held),
        _computed(sizes, low, reading),
        Component(
            "logits",
            4 * held.sequences * sizes.vocabulary,
            f"4 x {held.sequences} x {sizes.vocabulary} tokens known",
        ),
    ]


def reading_components(entries: Sequence[Entry], precision: str, tokens: int) -> list[Component]:
    """The parts of reading so many tokens at once, as an encoder does, which keeps nothing."""
    sizes = dimensions(entries)
    return [_weights(sizes, precision), _computed(sizes, _compute_bytes(precision), tokens)]


def scoring_components(
    entries: Sequence[Entry], precision: str, tokens: int, labels: int
) -> list[Component]:
    """The parts of scoring: so many tokens are read at once and the scores of `labels` of them made
    at a time: in float32, and as much again while they are normalized. In half precision they are
    made as such first, and the C library keeps that array."""
    sizes, low = dimensions(entries), _compute_bytes(precision)
    each = 8 if low == 4 else 8 + low
    size = each * labels * sizes.vocabulary
    text = f"{each} x {labels} labels x {sizes.vocabulary} tokens known"
    return [*reading_components(entries, precision, tokens), Component("logits", size, text)]


def _compute_bytes(precision: str) -> int:
    """Only weights are kept in less than half precision."""
    return int(max(BYTES[precision], 2))


def _weights(sizes: Dimensions, precision: str) -> Component:
    size = round(BYTES[precision] * sizes.parameters)
    return Component("weights", size, f"{BYTES[precision]:g} x {sizes.parameters}")


def _computed(sizes: Dimensions, low: int, tokens: int) -> Component:
    """What one layer has in memory at most; nothing of it outlives the layer."""
    widest = 2 * sizes.width + 2 * sizes.query + sizes.key + sizes.value + 3 * sizes.hidden
    return Component("activations", low * tokens * widest, f"{low} x {tokens} tokens x {widest}")


def _kept(sizes: Dimensions, low: int, held: Held) -> Component:
    if held.state:
        each = f"{held.sequences} sequences x {held.state} remembered of each"
        return Component("kv_cache", held.sequences * held.state, each)
    width = sizes.layers * (sizes.key + sizes.value)
    tokens = held.sequences * held.tokens + held.shared
    text = f"{held.sequences} sequences x {held.tokens} tokens"
    if held.shared:
        text = f"({text} + {held.shared} of all)"
    if held.narrow:
        scales = 2 * SCALE_BYTES * held.narrow
        each = f"{sizes.layers} layers x ({sizes.key} + {sizes.value} + {scales} of scales)"
        return Component(
            "kv_cache", tokens * (width + sizes.layers * scales), f"1 x {text} x {each}"
        )
    layers = f"{sizes.layers} layers x ({sizes.key} + {sizes.value})"
    return Component("kv_cache", low * tokens * width, f"{low} x {text} x {layers}")
