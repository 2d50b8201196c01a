"""Answering that ran out of memory: the error, with a setting that is predicted to fit.

    with named(Held(checkpoint, "fp32", bytes_held), asked):
        ...                                         # MemoryError -> MemoryLimitError, with a hint

Settings are walked from the one that changes least to the one that changes most, each kept as the
next is added, and the first that is predicted to fit is named. Knows flags and arithmetic on
shapes; does nothing to a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.quantized_file import is_quantized
from tutelage.errors import MemoryLimitError
from tutelage.generate.memory import predict, predict_scoring
from tutelage.machine.memory import available, is_exhausted
from tutelage.models.catalogue import layout
from tutelage.models.spec import Weight
from tutelage.plan.answering import Asked
from tutelage.plan.memory import BYTES

FEWEST_TOKENS = 16
OPENING = Asked(rows=1, tokens=1)


@dataclass(frozen=True)
class Held:
    """A model by its checkpoint and number format. `held` are bytes of weights in memory already;
    `cache_bytes` what all callers' keys and values may take, None where each call has its own."""

    checkpoint: Checkpoint
    dtype: str
    held: int = 0
    exact: bool = False
    cache_bytes: int | None = None


@dataclass(frozen=True)
class _Setting:
    dtype: str
    asked: Asked | None
    answer: int
    cache_bytes: int | None
    few_bits: bool = False


@contextmanager
def named(model: Held, asked: Asked | None = OPENING, answer: int = 0) -> Iterator[None]:
    """Within the block running out of memory is a MemoryLimitError. `asked` is what is answered,
    `answer` of its tokens being the answer's; None means that texts are scored."""
    room = available() + model.held
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_exhausted(error):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MemoryLimitError(
            "the model does not fit in memory" if asked == OPENING else "memory ran out",
            got=first,
            hint=_hint(model, asked, answer, room),
        ) from error


def _hint(model: Held, asked: Asked | None, answer: int, room: int) -> str:
    entries = layout(model.checkpoint.config)
    begun = _Setting(model.dtype, asked, answer, model.cache_bytes)
    # Where even what failed is predicted to fit, a limit that is not seen from here was met.
    limit = min(room, _needed(entries, model, begun))
    for flags, setting in _smaller(model, begun):
        bytes_ = _needed(entries, model, setting)
        if bytes_ < limit:
            return f"predicted to fit: {flags} ({_text(bytes_)} of {_text(room)})"
    return (
        f"no number format and no shorter answer is predicted to fit in {_text(room)}; free memory "
        "or take a smaller model"
    )


def _smaller(model: Held, setting: _Setting) -> Iterator[tuple[str, _Setting]]:
    """What to ask for and what it comes to, each keeping what came before it."""
    flags: dict[str, str] = {}

    def text() -> str:
        return ", ".join(f"{name} {value}".strip() for name, value in flags.items())

    if setting.dtype == "fp32" and not model.exact:
        flags["--dtype"], setting = "bf16", replace(setting, dtype="bf16")
        yield text(), setting
    for _ in range(3):
        if setting.cache_bytes is not None:
            setting = replace(setting, cache_bytes=setting.cache_bytes // 2)
            flags["--cache-gb"] = f"{(setting.cache_bytes or 0) / 1e9:.3g}"
            yield text(), setting
    while setting.asked is not None and setting.answer // 2 >= FEWEST_TOKENS:
        less = setting.answer - setting.answer // 2
        asked = replace(setting.asked, tokens=setting.asked.tokens - less)
        setting = replace(setting, asked=asked, answer=setting.answer // 2)
        flags["--max-new-tokens"] = str(setting.answer)
        yield text(), setting
    if not is_quantized(model.checkpoint.config):
        flags["weights in 8 bits (tutelage quantize MODEL --bits 8)"] = ""
        yield text(), replace(setting, few_bits=True)


def _needed(entries: list[Weight], model: Held, setting: _Setting) -> int:
    """Bytes that answering holds at most, the weights among them."""
    if setting.asked is None:
        found = predict_scoring(entries, setting.dtype)
    else:
        found = predict(entries, setting.dtype, setting.asked, model.exact)
    if setting.cache_bytes is not None:
        found["kv_cache"] = setting.cache_bytes
    if setting.few_bits or is_quantized(model.checkpoint.config):
        found["weights"] = round(found["weights"] * BYTES["int8"] / BYTES[setting.dtype])
    return sum(found.values())


def _text(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
