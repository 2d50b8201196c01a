"""Prefix language modelling: a beginning is read both ways, the rest predicted token by token.

    loss = - sum_{i > s} log p(x_i | x_1 ... x_{i-1}),     tokens 1 .. s see each other

The text is cut at a random place s. One stack does both: what an encoder-decoder gives to its
encoder is here the lead of the row (`data/pack.py`: `Example.lead`).
Source: Raffel et al. 2020, arXiv:1910.10683, sections 3.2.1 (the mask) and 3.3.1 (the objective);
Liu et al. 2018, arXiv:1801.10198. A model so trained says it in its config.json, so that prompts
are read the same way (`checkpoints/reading.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.pack import Example
from tutelage.objectives.cross_entropy import LossSum, loss
from tutelage.objectives.drawing import numbers

__all__ = ["LossSum", "example", "loss"]


def example(
    ids: Sequence[int],
    *,
    seed: int,
    epoch: int,
    row: int | str,
    weight: float = 1.0,
    name: str = "",
) -> Example:
    """A text, its end token last, cut at a random place: all that follows is trained. At least one
    token stands on either side; a text of fewer than two tokens trains nothing."""
    if len(ids) < 2:
        return Example(tuple(ids), (), (), weight, name)
    cut = 1 + int(numbers(seed, epoch, row).integers(len(ids) - 1))
    return Example.answer(ids[:cut], ids[cut:], weight, name, lead=cut)
