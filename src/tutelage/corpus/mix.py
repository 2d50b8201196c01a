"""How much of each source a mixture takes: weights, a temperature, caps on epochs. Arithmetic only.

    plan({"domain": 4e6, "general": 90e6}, weights=PRESETS["domain-51"], max_epochs=4)

Sizes are in any one unit (tokens, bytes). Source i with weight w_i gets the share

    p_i = w_i^(1/T) / sum over j of w_j^(1/T)

where T = 1 leaves the weights as they are and a larger T evens them out (as for multilingual T5:
Xue et al. 2021, arXiv:2010.11934, whose alpha is 1/T). Without weights each source weighs its own
size. No source is read more than `max_epochs` times: repeating it up to four times is nearly as
good as new text (Muennighoff et al. 2023, arXiv:2305.16264). What a cap holds back goes to the
others in proportion; where all are capped the mixture is smaller than asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tutelage.errors import ConfigError

PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"domain-51": MappingProxyType({"domain": 0.51, "general": 0.49})}
)
"""domain-51: 51% text of the domain, 49% general text, as BloombergGPT was trained (51.27% of
financial text; Wu et al. 2023, arXiv:2303.17564, table 1)."""


@dataclass(frozen=True)
class Share:
    """What a mixture takes of one source, in the unit of its size."""

    name: str
    size: float
    taken: float

    @property
    def epochs(self) -> float:
        return self.taken / self.size


def plan(
    sizes: Mapping[str, float],
    *,
    weights: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    max_epochs: float = 1.0,
    total: float | None = None,
) -> tuple[Share, ...]:
    """What to take of each source.

    Without `total` the mixture is the largest that keeps the shares and breaks no cap. Raises
    ConfigError for weights that do not fit the sources, or numbers that are not positive.
    """
    _check(sizes, weights, temperature, max_epochs, total)
    shares = proportions(weights or sizes, temperature)
    if total is None:
        total = min(max_epochs * sizes[name] / shares[name] for name in sizes)
    taken = _capped(shares, {name: max_epochs * size for name, size in sizes.items()}, total)
    return tuple(Share(name, sizes[name], taken[name]) for name in sizes)


def proportions(weights: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Weights as shares that sum to 1."""
    largest = max(weights.values())
    powers = {name: (weight / largest) ** (1 / temperature) for name, weight in weights.items()}
    whole = math.fsum(powers.values())
    return {name: power / whole for name, power in powers.items()}


def _capped(
    shares: Mapping[str, float], caps: Mapping[str, float], total: float
) -> dict[str, float]:
    """`total` by shares, none above its cap; the overflow goes to the others in proportion."""
    taken: dict[str, float] = {}
    free = dict(shares)
    while free:
        rest = total - math.fsum(taken.values())
        whole = math.fsum(free.values())
        full = [n for n, share in free.items() if rest * share / whole > caps[n] * (1 + 1e-12)]
        if not full:
            return taken | {name: rest * share / whole for name, share in free.items()}
        for name in full:
            taken[name] = caps[name]
            del free[name]
    return taken


def _check(
    sizes: Mapping[str, float],
    weights: Mapping[str, float] | None,
    temperature: float,
    max_epochs: float,
    total: float | None,
) -> None:
    if weights is not None and set(weights) != set(sizes):
        raise ConfigError(
            "the weights do not name the sources",
            field="--weight",
            got=", ".join(sorted(weights)),
            expected=", ".join(sorted(sizes)),
            hint="name a source with NAME=DATA",
        )
    numbers = {
        **{f"the size of {name}": size for name, size in sizes.items()},
        **{f"the weight of {name}": weight for name, weight in (weights or {}).items()},
        "--temperature": temperature,
        "--epochs": max_epochs,
        "--total": 1.0 if total is None else total,
    }
    if not sizes:
        raise ConfigError("nothing to mix", field="DATA", expected="at least one source")
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise ConfigError(f"{name} is not positive", field=name, got=number, expected="> 0")
