"""Lines that the layouts of all architectures are made of, and readings their files share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tutelage.errors import ConfigError
from tutelage.models.spec import Start, Weight

ACTIVATIONS = (
    "relu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "silu", "swish",
)  # fmt: skip
"""Names of Hugging Face's configurations that `nn/activation.py` computes."""


def linear(
    path: str, hf_name: str, out: int, into: int, role: str, layer: int | None = None, *,
    bias: bool = False, transposed: bool = False, start: Start | None = None, idle: bool = False,
) -> Iterator[Weight]:  # fmt: skip
    """The weight [out, into] of a linear map, and its bias if it has one."""
    yield Weight(
        f"{path}.weight", f"{hf_name}.weight", (out, into), role, layer, transposed, start=start,
        idle=idle,
    )  # fmt: skip
    if bias:
        yield Weight(f"{path}.bias", f"{hf_name}.bias", (out,), role, layer, idle=idle)


def norm(
    path: str, hf_name: str, width: int, layer: int | None = None, *, bias: bool = False,
    start: Start | None = None,
) -> Iterator[Weight]:  # fmt: skip
    """The gain of a normalization, and its shift if it has one."""
    yield Weight(f"{path}.weight", f"{hf_name}.weight", (width,), "norm", layer, start=start)
    if bias:
        yield Weight(f"{path}.bias", f"{hf_name}.bias", (width,), "norm", layer)


def activation(config: Mapping[str, Any], field: str, default: str) -> str:
    """The activation a configuration names. Raises ConfigError for one that is not computed."""
    name = config.get(field, default)
    if name not in ACTIVATIONS:
        raise ConfigError(
            "unsupported activation",
            field=field,
            got=name,
            expected="one of " + ", ".join(ACTIVATIONS),
        )
    return str(name)


def refuse(config: Mapping[str, Any], **honoured: Any) -> None:
    """Raise ConfigError where a field has another value than the one that is honoured; a field that
    is absent or None has that value."""
    for field, value in honoured.items():
        got = config.get(field)
        if got is not None and got != value:
            raise ConfigError(
                "a setting that is not honoured", field=field, got=got, expected=value
            )


def divisible(width: int, heads: int, field: str) -> int:
    """Width of one head. Raises ConfigError where heads do not divide the width."""
    if heads < 1 or width % heads:
        raise ConfigError(
            "the heads must divide the width",
            field=field,
            got=heads,
            expected=f"a divisor of {width}",
        )
    return width // heads


def paired(width: int) -> None:
    """Raise ConfigError where a head's numbers do not come in pairs, which rotation turns."""
    if width < 2 or width % 2:
        raise ConfigError(
            "rotation turns pairs of numbers", field="head_dim", got=width, expected="an even width"
        )
