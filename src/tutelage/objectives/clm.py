"""Causal language modelling: predict each trained token from everything before it.

    loss = - sum_i log p(x_i | x_1 ... x_{i-1})

What is trained of a row is said where the row is made (`data/pack.py`: `Example.answer`).
Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", eq. 1.
"""

from __future__ import annotations

from tutelage.objectives.cross_entropy import LossSum, loss

__all__ = ["LossSum", "loss"]
