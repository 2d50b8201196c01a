"""What answering will hold, before a model is opened: the engine's habits and `plan/`'s arithmetic.

    predict(layout(config), "bf16", Asked(rows=200, tokens=340, shared=120))    # {component: bytes}

Knows how many rows are decoded together and how much is read at a time; builds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tutelage.generate.batch import READ_TOKENS
from tutelage.generate.engine import SLOTS, together
from tutelage.generate.places import PART
from tutelage.generate.score import CHUNK, PACK_TOKENS
from tutelage.machine.device import DTYPES, Placement
from tutelage.nn.cache import STEP, Cache
from tutelage.nn.product import room_bytes
from tutelage.plan.answering import Asked, Held, answering_components, scoring_components
from tutelage.plan.memory import by_name
from tutelage.plan.parameters import Entry, dimensions, products


def predict(
    entries: Sequence[Entry], dtype: str, asked: Asked, exact: bool = False
) -> dict[str, int]:
    """Bytes by component; their sum is what the process holds at most beyond what it held before.

    Every row is taken to be as long as the longest. What all begin with is kept once as far as it
    fills blocks, in exact parts.
    """
    sizes = dimensions(entries)
    unit = PART if exact else STEP
    shared = asked.shared // unit * unit
    tokens = math.ceil((asked.tokens + asked.shared - shared) / STEP) * STEP
    each = Cache.bytes_per_slot(sizes.layers, tokens, (1, sizes.key), DTYPES[dtype].itemsize)
    sequences = together(asked.rows, each, SLOTS)
    reading = min(max(shared, sequences * tokens), PART if exact else READ_TOKENS)
    held = Held(sequences, tokens, shared, reading)
    found = by_name(answering_components(entries, dtype, held))
    wide = room_bytes(Placement("cpu", dtype), [entry.shape for entry in products(entries)])
    return {**found, "products": wide} if wide else found


def predict_scoring(entries: Sequence[Entry], dtype: str) -> dict[str, int]:
    """Bytes by component of scoring texts, packed and read as many tokens at a time."""
    return by_name(scoring_components(entries, dtype, PACK_TOKENS, CHUNK))
