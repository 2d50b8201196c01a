"""Floating-point operations counted while they are done.

    with Products() as products:
        step()
    products.flops

Every matrix product that reaches torch is seen with its shapes, also those of the backward pass
and those done again: 2 m n k each, by torch's own table. What is not a matrix product is not
counted, nor what runs inside this project's own kernels (the square of attention on the processor).
Numbers stay as they are, only slower by some microseconds an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Products(TorchDispatchMode):
    """Counts while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        count: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=found)
        return found
