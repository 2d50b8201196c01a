"""How many parameters and tokens a budget of compute is best spent on, C = 6 N D.

    rule         D = 20 N                                    the rule that is taught
    approach1    N = 0.0883 C^0.50                           Hoffmann et al. 2022, table 2 and A3
    approach2    N proportional to C^0.49, tokens to C^0.51  likewise, isoFLOP profiles
    parametric   L = E + A / N^a + B / D^b, minimised        approach 3, their equation 10
    replication  the same, fitted again to their data        Besiroglu et al. 2024, arXiv:2404.10102
    kaplan       N = 1.3e9 (C in petaflop/s-days)^0.73       Kaplan et al. 2020, table 6, section 6

Hoffmann et al. is arXiv:2203.15556. Their three approaches disagree (at 5.8e23 FLOPs 20 tokens a
parameter against 93), and the replication finds that the third was not fitted to the end.
`approach1` and `approach2` are anchored at the 67B model of table A3, with the exponents of
table 2. A law without a loss of its own gets that of `parametric`. Loss is in nats a token of its
authors' data, to be compared with nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tutelage.errors import ConfigError, UnknownName
from tutelage.plan.compute import PETAFLOP_S_DAY

TOKENS_A_PARAMETER = 20


@dataclass(frozen=True)
class Fit:
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, params: float, tokens: float) -> float:
        return self.e + self.a / params**self.alpha + self.b / tokens**self.beta

    def best(self, flops: float) -> float:
        """The N of least loss at C = 6 N D: G (C/6)^(beta/(alpha+beta)), their equation 4."""
        both = self.alpha + self.beta
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / both)
        return float(g * (flops / 6) ** (self.beta / both))

    def tokens_for(self, params: float, loss: float) -> float:
        """The D with which N parameters reach a loss; infinite where they never do."""
        left = loss - self.e - self.a / params**self.alpha
        return math.inf if left <= 0 else float((self.b / left) ** (1 / self.beta))


PARAMETRIC = Fit(1.69, 406.4, 410.7, 0.34, 0.28)
REPLICATION = Fit(1.8172, 482.01, 2085.43, 0.3478, 0.3658)


def kaplan_loss(params: float, tokens: float) -> float:
    """[(N_c / N)^(a_N / a_D) + D_c / D]^a_D, Kaplan et al. 2020, equation 1.5, table 2; N without
    embeddings."""
    return float(((6.4e13 / params) ** (0.076 / 0.103) + 1.8e13 / tokens) ** 0.103)


@dataclass(frozen=True)
class Law:
    """`best(flops)` is N; `loss(params, tokens)` in nats a token."""

    name: str
    best: Callable[[float], float]
    loss: Callable[[float, float], float]
    formula: str
    source: str


HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556"
LAWS = {
    law.name: law
    for law in (
        Law(
            "rule", lambda c: math.sqrt(c / (6 * TOKENS_A_PARAMETER)), PARAMETRIC.loss,
            "D = 20 N, C = 6 N D", f"as taught, after approaches 1 and 2 of {HOFFMANN}",
        ),
        Law(
            "approach1", lambda c: 67e9 * (c / 5.76e23) ** 0.50, PARAMETRIC.loss,
            "N = 67e9 (C / 5.76e23)^0.50", f"{HOFFMANN}, tables 2 and A3",
        ),
        Law(
            "approach2", lambda c: 67e9 * (c / 6.88e23) ** 0.49, PARAMETRIC.loss,
            "N = 67e9 (C / 6.88e23)^0.49", f"{HOFFMANN}, tables 2 and A3",
        ),
        Law(
            "parametric", PARAMETRIC.best, PARAMETRIC.loss,
            "L = 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28, least at C = 6 N D",
            f"{HOFFMANN}, equation 10",
        ),
        Law(
            "replication", REPLICATION.best, REPLICATION.loss,
            "L = 1.8172 + 482.01 / N^0.3478 + 2085.43 / D^0.3658, least at C = 6 N D",
            "Besiroglu et al. 2024, arXiv:2404.10102",
        ),
        Law(
            "kaplan", lambda c: 1.3e9 * (c / PETAFLOP_S_DAY) ** 0.73, kaplan_loss,
            "N = 1.3e9 (C / 8.64e19)^0.73; L = [(6.4e13 / N)^(0.076 / 0.103) + 1.8e13 / D]^0.103",
            "Kaplan et al. 2020, arXiv:2001.08361",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """A model and its data, as a law sees them."""

    params: float
    tokens: float
    flops: float
    loss: float

    @property
    def ratio(self) -> float:
        """Tokens a parameter."""
        return self.tokens / self.params


def law(name: str) -> Law:
    """Raises UnknownName."""
    if name not in LAWS:
        raise UnknownName("law", name, LAWS, field="--law")
    return LAWS[name]


def scaled(name: str, params: float | None, tokens: float | None, flops: float | None) -> Scaled:
    """What is not given, from what is: one of the three by the law, two by C = 6 N D.

    Raises ConfigError for none or all three.
    """
    chosen = law(name)
    given = sum(value is not None for value in (params, tokens, flops))
    if given not in (1, 2):
        raise ConfigError(
            "say one or two of parameters, tokens and FLOPs",
            field="--params, --tokens, --flops",
            got=given,
            expected="one, and the law says the others; or two, C = 6 N D",
        )
    if given == 1:
        budget = flops or _budget(chosen, params, tokens)
        params = params or chosen.best(budget)
        tokens = tokens or budget / (6 * params)
    elif params is None:
        assert flops is not None and tokens is not None
        params = flops / (6 * tokens)
    elif tokens is None:
        assert flops is not None
        tokens = flops / (6 * params)
    assert params is not None and tokens is not None
    return Scaled(params, tokens, 6 * params * tokens, chosen.loss(params, tokens))


def _budget(chosen: Law, params: float | None, tokens: float | None) -> float:
    """The C at which a law asks for N parameters, or for D tokens; both grow with C."""

    def over(flops: float) -> bool:
        best = chosen.best(flops)
        return best >= params if params else flops / (6 * best) >= (tokens or 0)

    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if over(10**middle) else (middle, high)
    return float(10**high)


def serving_aware(flops: float, answered: float, fit: Fit = PARAMETRIC) -> Scaled:
    """The model of least FLOPs in all that is as good as the best one of `flops`, when it will also
    read and write `answered` tokens:

        minimise 6 N D + 2 N D_answered   where L(N, D) = L_best(C)

    Sardana et al. 2024, arXiv:2401.00448, equation 2. A smaller model, trained for longer.
    """
    best = fit.best(flops)
    goal = fit.loss(best, flops / (6 * best))

    def cost(log_params: float) -> float:
        params = math.exp(log_params)
        return params * (6 * fit.tokens_for(params, goal) + 2 * answered)

    # Below this size no data reach the goal; the cost has one minimum above it.
    low = math.log((fit.a / (goal - fit.e)) ** (1 / fit.alpha)) + 1e-9
    high = math.log(best) + 1
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if cost(left) < cost(right) else (left, high)
    params = math.exp((low + high) / 2)
    tokens = fit.tokens_for(params, goal)
    return Scaled(params, tokens, 6 * params * tokens, fit.loss(params, tokens))
