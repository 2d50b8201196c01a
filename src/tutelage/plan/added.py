"""How many parameters each way of tuning adds, and what is taught of it.

    lora             sum over targets of r (in + out)                    Hu et al. 2021
    adapter          2 L (2 r C + r + C)     two a layer, down and up    Houlsby et al. 2019
    adapter-pfeiffer   L (2 r C + r + C)     one a layer                 Pfeiffer et al. 2021
    prefix           L P (K + V)             keys and values, 2 L P C where all heads are full
    prefix-mlp       P C + C M + M L (K + V) while it is learned; the biases M + L (K + V) are left
                                             out, as they are where this is taught
    prompt           P C                     Lester et al. 2021

r rank, L layers, C width, P virtual tokens, K and V widths of keys and values, M the hidden width
of the reparameterization (C if not given). Prefixes: Li and Liang 2021, arXiv:2101.00190.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tutelage.errors import UnknownName
from tutelage.plan.parameters import Dimensions, Entry, dimensions, linear_roles, lora_parameters


@dataclass(frozen=True)
class Added:
    """Numbers that are trained, how they were counted, and what is taught."""

    parameters: int
    share: float
    """Of the model's own parameters."""
    formula: str
    taught: int
    taught_formula: str
    note: str


@dataclass(frozen=True)
class Sizes:
    """What a method is given: `rank`, virtual `tokens`, `hidden` width, `roles` of LoRA."""

    rank: int = 8
    tokens: int = 20
    hidden: int | None = None
    roles: tuple[str, ...] | None = None


Counted = tuple[int, str, int, str, str]


def added(entries: Sequence[Entry], method: str, sizes: Sizes) -> Added:
    """What a method adds to a model. Raises UnknownName for a method or a role."""
    if method not in METHODS:
        raise UnknownName("method", method, METHODS, field="--method")
    model = dimensions(entries)
    count, formula, taught, taught_formula, note = METHODS[method](entries, model, sizes)
    return Added(count, count / model.parameters, formula, taught, taught_formula, note)


def _lora(entries: Sequence[Entry], model: Dimensions, sizes: Sizes) -> Counted:
    known = linear_roles(entries)
    roles = sizes.roles or known
    for role in roles:
        if role not in known:
            raise UnknownName("role", role, known, field="--role")
    count = lora_parameters(entries, sizes.rank, roles)
    taught = 4 * model.layers * model.width * sizes.rank
    note = "4 L C r is of two square maps a layer, W_q and W_v with full heads; each map has 2 C r"
    return count, f"sum of {sizes.rank} (in + out) over {', '.join(roles)}", taught, "4 L C r", note


def _adapter(each: int) -> Callable[[Sequence[Entry], Dimensions, Sizes], Counted]:
    def count(entries: Sequence[Entry], model: Dimensions, sizes: Sizes) -> Counted:
        r, c, layers = sizes.rank, model.width, model.layers
        formula = f"{each} x {layers} (2 x {r} x {c} + {r} + {c})"
        taught = 2 * layers * (r * c + r + c)
        note = "the taught sum lacks the projection up, C r of each adapter"
        return each * layers * (2 * r * c + r + c), formula, taught, "2 L (r C + r + C)", note

    return count


def _prefix(entries: Sequence[Entry], model: Dimensions, sizes: Sizes) -> Counted:
    kept = model.key + model.value
    count = model.layers * sizes.tokens * kept
    formula = f"{model.layers} x {sizes.tokens} x ({model.key} + {model.value})"
    taught = 2 * model.layers * sizes.tokens * model.width
    return (
        count,
        formula,
        taught,
        "2 L P C",
        "2 L P C where keys and values are as wide as the model",
    )


def _reparameterized(entries: Sequence[Entry], model: Dimensions, sizes: Sizes) -> Counted:
    p, c, m = sizes.tokens, model.width, sizes.hidden or model.width
    kept = model.layers * (model.key + model.value)
    formula = f"{p} x {c} + {c} x {m} + {m} x {kept}"
    taught = p * c + c * m + 2 * model.layers * m * c
    note = "after learning only the prefix itself is kept"
    return p * c + c * m + m * kept, formula, taught, "P C + C M + 2 L M C", note


def _prompt(entries: Sequence[Entry], model: Dimensions, sizes: Sizes) -> Counted:
    count = sizes.tokens * model.width
    note = "20 to 100 virtual tokens, 10K to 100K parameters, as it is taught"
    return count, f"{sizes.tokens} x {model.width}", count, "P C", note


METHODS: dict[str, Callable[[Sequence[Entry], Dimensions, Sizes], Counted]] = {
    "lora": _lora,
    "adapter": _adapter(2),
    "adapter-pfeiffer": _adapter(1),
    "prefix": _prefix,
    "prefix-mlp": _reparameterized,
    "prompt": _prompt,
}
