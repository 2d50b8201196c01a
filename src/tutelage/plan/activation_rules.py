"""Two formulas for activations that are taught and published, beside `activations.py`.

    course        2 (1 + 4 + 1) C B T L                          bytes, in half precision
    korthikanti   B T C L (34 + 5 H T / C)                       bytes, 16 bits, nothing recomputed
                  34 B T C L                                     attention recomputed (selective)
                  2 B T C L                                      block inputs alone (full)

B sequences of T tokens, C width, L layers, H heads. The second is Korthikanti et al. 2022,
arXiv:2205.05198, section 4.1, equations 1, 2, and section 4.4; t-way tensor parallelism divides all
but 10 of its 34, and with sequence parallelism those too. Neither knows of kernels that never store
the scores, which is why `activations.py`, which does, gives less than "nothing recomputed".
"""

from __future__ import annotations

from tutelage.errors import ConfigError, UnknownName
from tutelage.models.spec import Shape
from tutelage.plan.memory import Component

RECOMPUTE = ("none", "selective", "full")


def course(shape: Shape, batch: int, context: int) -> Component:
    """As it is taught: a width in, four of the feed-forward network, a width out, 2 bytes each."""
    size = 12 * shape.width * batch * context * shape.layers
    return Component(
        "course", size, f"2 (1 + 4 + 1) x {shape.width} x {batch} x {context} x {shape.layers}"
    )


def korthikanti(
    shape: Shape, batch: int, context: int, recompute: str = "none", tensor: int = 1
) -> Component:
    """Korthikanti et al. 2022; `tensor` devices share it by tensor parallelism.

    Raises UnknownName for a way of recomputing, ConfigError where heads are not divisible.
    """
    if recompute not in RECOMPUTE:
        raise UnknownName("way of recomputing", recompute, RECOMPUTE, field="--recompute")
    if tensor < 1 or shape.heads % tensor:
        raise ConfigError(
            "heads are shared whole", field="--tensor", got=tensor,
            expected=f"a divisor of {shape.heads}",
        )  # fmt: skip
    unit = batch * context * shape.width * shape.layers
    scores = 5 * shape.heads * context / shape.width
    factor, text = {
        "none": (10 + (24 + scores) / tensor, "34 + 5 H T / C"),
        "selective": (10 + 24 / tensor, "34"),
        "full": (2.0, "2"),
    }[recompute]
    how = f"{batch} x {context} x {shape.width} x {shape.layers} x ({text} = {factor:g})"
    return Component(f"korthikanti, recomputing {recompute}", round(unit * factor), how)
