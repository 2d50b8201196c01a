"""What tuning cost elsewhere: rise of loss on other text, and distance from the base model.

    rise = sum over texts of (log p_before - log p_after) / tokens          nats per token
    KL(base || after) ~ the same, on texts sampled from the base itself     nats per token

Both are ratios of sums over texts with intervals over texts. Calling the model (`text_scores`) and
arithmetic (`rise`) are apart, so that the base's scores are computed once and stored. Knows the
seam alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tutelage.errors import NotNumbersError, RequestError
from tutelage.evaluate.statistics import Measured, measured
from tutelage.lm import LM, Prompt, Request, Sampling, complete
from tutelage.score._metric import mean

CONTEXT_WORDS = 20

Pair = tuple[Prompt, str]
"""A context and the text whose probability after it is asked."""


def split_text(text: str, words: int = CONTEXT_WORDS) -> Pair | None:
    """The first words as raw context, the rest as continuation with the whitespace before it.

    None if nothing is left to continue. The two parts joined are the text.
    """
    start = re.match(rf"\s*\S+(?:\s+\S+){{{words - 1}}}", text)
    if start is None or not text[start.end() :].strip():
        return None
    return text[: start.end()], text[start.end() :]


def pairs_of(texts: Sequence[str]) -> list[Pair]:
    """All texts long enough, split. Raises RequestError if none is."""
    pairs = [pair for text in texts if (pair := split_text(text)) is not None]
    if not pairs:
        raise RequestError(
            "no text is long enough to measure forgetting on",
            field="texts",
            got=f"{len(texts)} texts",
            expected=f"more than {CONTEXT_WORDS} words",
        )
    return pairs


def fits(lm: LM, prompt: Prompt, more: int) -> bool:
    """Whether the context holds a prompt and so many tokens more, as far as the model says."""
    context, tokens = lm.capabilities().context, lm.count_tokens(prompt)
    return context is None or tokens is None or tokens + more <= context


def short_enough(lm: LM, pairs: Sequence[Pair]) -> list[int]:
    """The places of the pairs that the context holds, with a token at each seam."""
    return [
        place
        for place, (context, text) in enumerate(pairs)
        if fits(lm, context, (lm.count_tokens(text) or 0) + 2)
    ]


def text_scores(lm: LM, pairs: Sequence[Pair]) -> np.ndarray:
    """[n, 2]: log-probability of each continuation, in nats, and its number of tokens.

    Raises NotNumbersError where a probability is no finite number.
    """
    scores = lm.score(pairs)
    rows = np.array([[score.log_probability, score.tokens] for score in scores], dtype=float)
    rows = rows.reshape(len(scores), 2)
    if not np.isfinite(rows).all():
        place = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise NotNumbersError(
            f"the log-probability of text {place} is not a finite number",
            field="texts",
            got=rows[place, 0],
        )
    return rows


def rise(before: np.ndarray, after: np.ndarray, seed: int = 0) -> tuple[Measured, np.ndarray]:
    """How much more each token surprises after than before, from two `text_scores` [n, 2].

    Returns the measured rise in nats per token and the statistics [n, 2] it comes from: the rise
    summed over each text's tokens, and their number. 0 is nothing forgotten, more is worse. Texts
    without tokens count nothing. Raises RequestError if the two were not scored on the same tokens.
    """
    if before.shape != after.shape or (before[:, 1] != after[:, 1]).any():
        raise RequestError(
            "the two models did not score the same tokens",
            field="texts",
            got=f"{after[:, 1].sum():.0f} tokens after",
            expected=f"{before[:, 1].sum():.0f} tokens, as before",
            hint="loss per token compares models of one tokenizer only",
        )
    statistics = np.column_stack([before[:, 0] - after[:, 0], before[:, 1]])
    statistics = statistics[statistics[:, 1] > 0]
    return measured(statistics, mean, seed, limits=None), statistics


def draw_samples(
    lm: LM, prompts: Sequence[Prompt], max_new_tokens: int = 64, seed: int = 0
) -> list[Pair]:
    """What the model itself says to the prompts at temperature 1; blank answers are left out.

    On these the rise estimates the divergence from this model, without bias for the sum over
    tokens; end tokens are no part of it. Single texts may be negative, the divergence is not.
    """
    requests = [
        Request(prompt, max_new_tokens, Sampling(temperature=1.0, seed=seed + place))
        for place, prompt in enumerate(prompts)
    ]
    completions = complete(lm, requests)
    answers = zip(prompts, (completion.text for completion in completions), strict=True)
    return [(prompt, text) for prompt, text in answers if text.strip()]
