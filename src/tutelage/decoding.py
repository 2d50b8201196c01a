"""How an answer is decoded: settings as plain data, for every kind of model.

Each class raises ConfigError naming the field that cannot be what it is, by the name users give it
(OpenAI's and vLLM's). `docs/decoding.md` says in which order the settings apply. Knows nothing of
torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from tutelage.errors import ConfigError

KVCacheDtype = Literal["auto", "int8"]
"""What keys and values are kept in: the model's own type, or 8 bits."""
GuideKind = Literal["json_schema", "json_object", "regex", "choice", "grammar"]
MOST_LOGPROBS = 20
MOST_BEAMS = 64
MOST_GUESSES = 16


@dataclass(frozen=True)
class Penalties:
    """What speaks against saying something again.

    `repetition` divides the positive scores of tokens in prompt and answer, and multiplies the
    negative ones; `presence` and `frequency` are taken off the scores of the answer's tokens, once
    and once each time. An n-gram of `no_repeat_ngram` tokens comes once in prompt and answer; 0
    allows all.
    """

    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        hold("repetition_penalty", self.repetition, 0.01 <= self.repetition <= 100, "0.01 to 100")
        hold("presence_penalty", self.presence, -2 <= self.presence <= 2, "-2 to 2")
        hold("frequency_penalty", self.frequency, -2 <= self.frequency <= 2, "-2 to 2")
        right = self.no_repeat_ngram >= 0
        hold("no_repeat_ngram_size", self.no_repeat_ngram, right, "0 or more")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest one, after penalties and
    bias; `top_k`, `top_p`, `min_p`, `typical_p` and `seed` matter above 0 alone.

    `logit_bias` holds (token id, what is added to its score).
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    min_p: float | None = None
    typical_p: float | None = None
    penalties: Penalties = field(default_factory=Penalties)
    logit_bias: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        hold("temperature", self.temperature, 0 <= self.temperature <= 2, "0 to 2")
        hold("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "1 or more")
        hold("top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "above 0, at most 1")
        hold("min_p", self.min_p, self.min_p is None or 0 <= self.min_p <= 1, "0 to 1")
        typical = self.typical_p
        hold("typical_p", typical, typical is None or 0 < typical <= 1, "above 0, at most 1")
        hold("seed", self.seed, 0 <= self.seed < 2**63, "0 to 2^63 - 1")
        for token, bias in self.logit_bias:
            right = token >= 0 and -100 <= bias <= 100
            hold("logit_bias", f"{token}: {bias}", right, "token ids and -100 to 100")

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is the answer as it stands."""
        return not self.temperature and not self.logit_bias and self.penalties == Penalties()


@dataclass(frozen=True)
class Guided:
    """What the whole answer must be: JSON of a schema (`text` is the schema, as JSON), any JSON
    object, a match of a regular expression, one of the `choices`, or a sentence of a grammar in
    Lark's notation. `field` is the setting it came from, for messages."""

    kind: GuideKind
    text: str = ""
    choices: tuple[str, ...] = ()
    field: str = ""

    def __post_init__(self) -> None:
        hold("guided", self.kind, self.kind in get_args(GuideKind), ", ".join(get_args(GuideKind)))
        if self.kind == "choice":
            right = bool(self.choices) and "" not in self.choices
            hold("guided_choice", list(self.choices), right, "at least one text, none empty")
        elif self.kind != "json_object":
            hold(self.name, self.text, bool(self.text.strip()), "a text that is not empty")

    @property
    def name(self) -> str:
        """The setting's name: as given, or vLLM's."""
        if self.field:
            return self.field
        short = {"json_schema": "json", "json_object": "json_object"}
        return "guided_" + short.get(self.kind, self.kind)


Feature = tuple[float, Callable[[str], float]]
"""alpha_i and f_i: a weight, and a function of the answer's text so far."""


@dataclass(frozen=True)
class Beam:
    """Beam search: the `width` best beginnings are continued side by side.

    An answer of n tokens is worth sum(log p) / n^length_penalty. `groups` share the width and are
    penalised by `diversity` for each token another group took in the same step. The `returned` best
    are given out. With `features` each step adds sum(alpha_i f_i(text so far)) to the score.

    Sources: Graves 2012, arXiv:1211.3711; groups: Vijayakumar et al. 2016, arXiv:1610.02424.
    """

    width: int = 4
    length_penalty: float = 1.0
    groups: int = 1
    diversity: float = 0.0
    returned: int = 1
    early_stopping: bool = False
    """End once `width` answers are complete, whatever the others could still become."""
    features: tuple[Feature, ...] = ()

    def __post_init__(self) -> None:
        hold("beam_width", self.width, 1 <= self.width <= MOST_BEAMS, f"1 to {MOST_BEAMS}")
        hold("length_penalty", self.length_penalty, abs(self.length_penalty) <= 10, "-10 to 10")
        right = self.groups >= 1 and self.width % self.groups == 0
        hold("beam_groups", self.groups, right, f"a divisor of the width {self.width}")
        hold("diversity_penalty", self.diversity, 0 <= self.diversity <= 100, "0 to 100")
        right = self.groups > 1 or not self.diversity
        hold("diversity_penalty", self.diversity, right, "0 without several groups of beams")
        hold("n", self.returned, 1 <= self.returned <= self.width, f"1 to {self.width}")


@dataclass(frozen=True)
class Contrastive:
    """Contrastive search: of the `top_k` likeliest tokens v the one with the greatest
    (1 - alpha) p(v) - alpha max_j cos(h_v, h_j), where h_j are the vectors of the tokens so far.

    Source: Su et al. 2022, arXiv:2202.06417, equation 5.
    """

    alpha: float = 0.6
    top_k: int = 4

    def __post_init__(self) -> None:
        hold("penalty_alpha", self.alpha, 0 < self.alpha < 1, "above 0, below 1")
        hold("top_k", self.top_k, 1 <= self.top_k <= MOST_BEAMS, f"1 to {MOST_BEAMS}")

    @classmethod
    def asked(
        cls, alpha: float, top_k: int | None, answers: int, best_of: int | None
    ) -> Contrastive:
        """From what users set beside each other; a contrastive search has one answer."""
        hold("n", answers, answers == 1, "1: a contrastive search has one answer")
        hold("best_of", best_of, best_of is None, "absent: a contrastive search has one answer")
        return cls(alpha) if top_k is None else cls(alpha, top_k)


@dataclass(frozen=True)
class Speculative:
    """Guessing tokens, so that one step gives several, to the same text: by the source of a
    `draft` model with the same vocabulary, or from what followed the last tokens earlier in prompt
    and answer. `tokens` are guessed at a time."""

    draft: str | None = None
    tokens: int = 5

    def __post_init__(self) -> None:
        hold("draft_tokens", self.tokens, 1 <= self.tokens <= MOST_GUESSES, f"1 to {MOST_GUESSES}")


def hold(name: str, got: object, right: bool, expected: str) -> None:
    """Raises ConfigError naming the field, unless `right`."""
    nan = isinstance(got, float) and not math.isfinite(got)
    if nan or not right:
        raise ConfigError(f"{name} must be {expected}", field=name, got=got, expected=expected)
