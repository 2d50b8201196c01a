"""The options of verbs that talk: how tokens are chosen, looked for, and held to a form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.decoding import Beam, Contrastive, Guided, Sampling, Speculative
    from tutelage.lm import Prompt, Request

CHOOSING = Group("Choosing tokens", sort_key=10)
SEARCHING = Group("Several answers, and searches", sort_key=20)
GUIDING = Group("What the answer must be", sort_key=30)
SPEED = Group("Speed", sort_key=40)
MANY = Parameter(consume_multiple=False, show_default=False)


@Parameter(name="*", group=CHOOSING)
@dataclass(frozen=True)
class Choosing:
    """How the next token is chosen: the options of every verb that talks."""

    temperature: float | None = None
    """0 or absent is greedy; higher is more varied, up to 2."""
    top_k: int | None = None
    """Choose among the K likeliest tokens; needs a temperature."""
    top_p: float | None = None
    """Choose among the likeliest tokens that make up this probability; needs a temperature."""
    min_p: float | None = None
    """Choose among tokens at least P times as likely as the likeliest; needs a temperature."""
    typical_p: float | None = None
    """Choose among the most typical tokens that make up this probability; needs a temperature."""
    repetition_penalty: float | None = None
    """Above 1: less of what stands in prompt and answer."""
    presence_penalty: float | None = None
    """Taken off the score of a token that stands in the answer, -2 to 2."""
    frequency_penalty: float | None = None
    """Taken off a token's score for each time it stands in the answer, -2 to 2."""
    no_repeat_ngram_size: int | None = None
    """Say no N tokens in a row twice."""
    logit_bias: Annotated[tuple[str, ...], MANY] = ()
    """ID=BIAS: add BIAS (-100 to 100) to the score of token ID; may be given several times."""
    min_new_tokens: int | None = None
    """The shortest answer, in tokens."""


@Parameter(name="*", group=SEARCHING)
@dataclass(frozen=True)
class Searching:
    """Several answers to one prompt, and ways to look further than one token ahead."""

    n: int = 1
    """How many answers; the first is printed, --json has the others."""
    best_of: int | None = None
    """Draw so many answers and give the N the model finds likeliest by token."""
    beam_width: int | None = None
    """Beam search with so many beams."""
    beam_groups: int = 1
    """Groups of beams that are kept apart by --diversity-penalty."""
    length_penalty: float | None = None
    """Beams are compared by log p / tokens^PENALTY; 1 if not given."""
    diversity_penalty: float | None = None
    """Taken off a token's log-probability for each beam of an earlier group that took it."""
    early_stopping: bool = False
    """End a beam search once as many answers as beams are complete."""
    penalty_alpha: float | None = None
    """Contrastive search: how much likeness to earlier tokens counts, among --top-k candidates."""
    logprobs: int | None = None
    """Also tell the log-probability of each token and of so many alternatives (with --json)."""


@Parameter(name="*", group=GUIDING)
@dataclass(frozen=True)
class Guiding:
    """What the whole answer must be; one of these."""

    json_schema: Path | None = None
    """File with a JSON schema that the answer fulfils."""
    regex: str | None = None
    """Regular expression that the whole answer matches."""
    choice: Annotated[tuple[str, ...], MANY] = ()
    """The answer is one of these texts; given several times."""
    grammar: Path | None = None
    """File with a grammar in Lark's notation that the answer follows."""


@Parameter(name="*", group=SPEED)
@dataclass(frozen=True)
class Speculating:
    """Guessing tokens so that one step gives several; the text stays the same."""

    prompt_lookup: bool = False
    """Guess what followed the last tokens where they stood before in prompt and answer."""
    draft: str | None = None
    """Guess by a smaller model of the same vocabulary; a model source."""
    draft_tokens: int | None = None
    """How many tokens to guess at a time; 5 if not given."""

    def settings(self) -> Speculative | None:
        """Raises ConfigError naming a flag that is wrong or without effect."""
        from tutelage.decoding import Speculative

        if self.draft is None and not self.prompt_lookup:
            if self.draft_tokens is not None:
                raise ConfigError(
                    "--draft-tokens needs --draft or --prompt-lookup", field="--draft-tokens"
                )
            return None
        if self.draft is not None and self.prompt_lookup:
            raise ConfigError(
                "--draft and --prompt-lookup are two ways to guess: choose one", field="--draft"
            )
        try:
            return Speculative(self.draft, 5 if self.draft_tokens is None else self.draft_tokens)
        except ConfigError as error:
            raise flagged(error) from None


def request_of(
    prompt: Prompt,
    max_new_tokens: int,
    choosing: Choosing | None,
    seed: int | None,
    stop: tuple[str, ...] = (),
    searching: Searching | None = None,
    guiding: Guiding | None = None,
) -> Request:
    """The flags as a request. Raises ConfigError naming one that is wrong or without effect."""
    from tutelage.lm import Request

    chosen, looked = choosing or Choosing(), searching or Searching()
    _refuse_idle(chosen, looked)
    try:
        search = _search(chosen, looked)
        return Request(
            prompt, max_new_tokens, _sampling(chosen, looked, seed or 0), stop,
            chosen.min_new_tokens or 0, looked.logprobs, _guided(guiding or Guiding()), search,
        )  # fmt: skip
    except ConfigError as error:
        raise flagged(error) from None


def flagged(error: ConfigError) -> ConfigError:
    """The error with its field as a flag."""
    flags = {"guided_choice": "choice", "penalties": "repetition-penalty"}
    name = str(error.field).lstrip("-")
    error.field = "--" + flags.get(name, name.replace("_", "-"))
    return error


def _refuse_idle(chosen: Choosing, looked: Searching) -> None:
    """Raises ConfigError for flags that would do nothing."""
    contrastive = looked.penalty_alpha is not None
    for flag, value in (
        ("--top-k", None if contrastive else chosen.top_k),
        ("--top-p", chosen.top_p),
        ("--min-p", chosen.min_p),
        ("--typical-p", chosen.typical_p),
    ):
        if value is not None and not chosen.temperature:
            raise ConfigError(
                f"{flag} has no effect on greedy answers",
                field=flag,
                got=value,
                expected="a --temperature above 0 beside it",
                hint=f"add --temperature 1, or leave {flag} out",
            )
    for flag, given in (
        ("--length-penalty", looked.length_penalty is not None),
        ("--beam-groups", looked.beam_groups != 1),
        ("--diversity-penalty", looked.diversity_penalty is not None),
        ("--early-stopping", looked.early_stopping),
    ):
        if given and looked.beam_width is None:
            raise ConfigError(f"{flag} needs --beam-width beside it", field=flag)


def _sampling(chosen: Choosing, looked: Searching, seed: int) -> Sampling:
    from tutelage.decoding import Penalties, Sampling

    penalties = Penalties()
    given = (
        chosen.repetition_penalty,
        chosen.presence_penalty,
        chosen.frequency_penalty,
        chosen.no_repeat_ngram_size,
    )
    if any(value is not None for value in given):
        repetition, presence, frequency, ngram = given
        penalties = Penalties(
            1.0 if repetition is None else repetition, presence or 0.0, frequency or 0.0, ngram or 0
        )
    return Sampling(
        temperature=chosen.temperature or 0.0,
        top_k=None if looked.penalty_alpha is not None else chosen.top_k,
        top_p=chosen.top_p,
        seed=seed,
        min_p=chosen.min_p,
        typical_p=chosen.typical_p,
        penalties=penalties,
        logit_bias=tuple(_bias(text) for text in chosen.logit_bias),
    )


def _bias(text: str) -> tuple[int, float]:
    token, _, value = text.partition("=")
    try:
        return int(token), float(value)
    except ValueError:
        raise ConfigError(
            f"cannot read --logit-bias {text!r}", field="logit_bias", got=text, expected="ID=BIAS"
        ) from None


def _search(chosen: Choosing, looked: Searching) -> Beam | Contrastive | None:
    from tutelage.decoding import Beam, Contrastive

    if looked.penalty_alpha is not None:
        if looked.beam_width is not None:
            raise ConfigError(
                "--penalty-alpha and --beam-width are two searches: choose one",
                field="penalty_alpha",
            )
        return Contrastive.asked(looked.penalty_alpha, chosen.top_k, looked.n, looked.best_of)
    if looked.beam_width is None:
        return None
    if looked.best_of is not None:
        raise ConfigError("--best-of draws answers, and beams are not drawn", field="best_of")
    return Beam(
        width=looked.beam_width,
        length_penalty=1.0 if looked.length_penalty is None else looked.length_penalty,
        groups=looked.beam_groups,
        diversity=looked.diversity_penalty or 0.0,
        returned=looked.n,
        early_stopping=looked.early_stopping,
    )


def _guided(guiding: Guiding) -> Guided | None:
    from tutelage.decoding import Guided

    given: list[Guided] = []
    if guiding.json_schema is not None:
        text = _text(guiding.json_schema, "--json-schema")
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"{guiding.json_schema} is not JSON: {error}", field="json_schema"
            ) from None
        given.append(Guided("json_schema", text, field="--json-schema"))
    if guiding.regex is not None:
        given.append(Guided("regex", guiding.regex, field="--regex"))
    if guiding.choice:
        given.append(Guided("choice", choices=tuple(guiding.choice), field="--choice"))
    if guiding.grammar is not None:
        given.append(Guided("grammar", _text(guiding.grammar, "--grammar"), field="--grammar"))
    if len(given) > 1:
        raise ConfigError(
            "an answer is held to one form: --json-schema, --regex, --choice or --grammar",
            field=given[1].name,
        )
    return given[0] if given else None


def _text(path: Path, flag: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", field=flag, got=path) from None
