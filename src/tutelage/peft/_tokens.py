"""How many virtual tokens stand before every row and what they begin as, as plain data.

What is learned of them is in `_virtual.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from tutelage.config import Frozen
from tutelage.errors import ConfigError
from tutelage.models.spec import Shape, Weight
from tutelage.peft._targets import flag_text

DEFAULT_TOKENS = 20


class Started(Frozen):
    """How many virtual tokens, and what they begin as. None means a default, which `resolved`
    puts in."""

    tokens: int | None = None
    """P; as many as the text has, or 20."""
    start: Literal["vocabulary", "random"] = "vocabulary"
    """Random words, or random numbers."""
    text: str | None = None
    """Words to begin as instead, over and over where they are fewer than P."""
    words: tuple[int, ...] | None = None
    """The text's tokens."""


def worded(settings: Any, encode: Callable[[str], list[int]]) -> Any:
    """With the text's tokens. Raises ConfigError for a text beside a random start, and one without
    tokens or with more than there is room for."""
    if settings.text is None:
        return settings
    words = tuple(encode(settings.text))
    if settings.start == "random":
        raise ConfigError(
            "virtual tokens begin as a text or at random", field=flag_text("text"),
            got="both", expected="one of them",
        )  # fmt: skip
    most = len(words) if settings.tokens is None else settings.tokens
    if not 1 <= len(words) <= most:
        raise ConfigError(
            "the text that virtual tokens begin as does not fit them", field=flag_text("text"),
            got=f"{len(words)} tokens", expected=f"1 to {max(most, 1)} tokens",
            hint="shorten it, or leave --tokens out",
        )  # fmt: skip
    return settings.model_copy(update={"words": words})


def resolved(settings: Any, weights: Sequence[Weight], shape: Shape) -> Any:
    """With the number of virtual tokens. Raises ConfigError as `check` does."""
    tokens = settings.tokens
    if tokens is None:
        tokens = len(settings.words) if settings.words else DEFAULT_TOKENS
    check(tokens, weights, shape)
    return settings.model_copy(update={"tokens": tokens})


def token_table(weights: Sequence[Weight]) -> Weight:
    """The table of token vectors."""
    return next(weight for weight in weights if weight.role == "embed")


def check(tokens: int, weights: Sequence[Weight], shape: Shape) -> None:
    """Raise ConfigError for a number of virtual tokens that leaves no room: prompt and answer need
    a token each, on one axis or, where an encoder reads the prompt, on two."""
    own = 2 if shape.start is None else 1
    most = None if shape.context is None else shape.context - own
    if tokens < 1 or (most is not None and tokens > most):
        raise ConfigError(
            "virtual tokens must leave room in the model's context",
            field=flag_text("tokens"),
            got=tokens,
            expected="1 or more" if most is None else f"1 to {most}",
        )


def hidden_of(asked: int | None, default: int) -> int:
    """The width of the network that makes rows. Raises ConfigError for one that is none."""
    hidden = default if asked is None else asked
    if hidden < 1:
        raise ConfigError(
            "a network has at least one number between its layers",
            field=flag_text("hidden"),
            got=hidden,
            expected="1 or more",
        )
    return hidden
