"""Questions put to a model in words, once or several times, and the answers found in what it said.

    asked = ask(lm, items, extract, form, settings)
    asked.answers       one a item: the extracted answer, "" where there is none
    asked.said          everything that was said, draw by draw

Knows the seam alone. Prompts that leave no room for an answer are refused, not shortened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tutelage.evaluate.run import Answer, Item, refused
from tutelage.evaluate.settings import Settings
from tutelage.lm import LM, Completion, Request, Sampling
from tutelage.progress import Progress, silent
from tutelage.prompts.votes import voted

Extract = Callable[[str], str | None]


@dataclass(frozen=True)
class Asked:
    """`agreement` is the share of draws that gave the voted answer, None without votes."""

    answers: tuple[Answer, ...]
    said: tuple[tuple[str, ...], ...]
    agreement: tuple[float | None, ...]
    seconds: float


def ask(
    lm: LM,
    items: Sequence[Item],
    extract: Extract,
    form: Callable[[str], str],
    settings: Settings,
    *,
    stop: Sequence[str] = (),
    top_p: float | None = None,
    progress: Progress = silent,
) -> Asked:
    """Every item answered: greedily, or by `settings.votes` draws and the answer most agree on."""
    out = refused(lm, items, settings.max_new_tokens)
    places = [place for place in range(len(items)) if place not in out]
    draws = _draws(settings, top_p)
    requests = [
        Request(items[place].prompt, settings.max_new_tokens, sampling, tuple(stop))
        for place in places
        for sampling in draws
    ]
    found: list[Completion | None] = [None] * len(requests)
    begun = time.perf_counter()
    for event in lm.generate(requests) if requests else ():
        if isinstance(event, Completion):
            found[event.index] = event
            done = sum(one is not None for one in found)
            progress("answers", done // len(draws) + len(out), len(items))
    seconds = time.perf_counter() - begun
    answers, said, agreement = dict(out), {}, {}
    for number, place in enumerate(places):
        own = [one for one in found[number * len(draws) : (number + 1) * len(draws)] if one]
        said[place] = tuple(one.text for one in own)
        answers[place], agreement[place] = _one(items[place].id, own, extract, form, settings)
    order = range(len(items))
    return Asked(
        tuple(answers[place] for place in order),
        tuple(said.get(place, ()) for place in order),
        tuple(agreement.get(place) for place in order),
        seconds,
    )


def _draws(settings: Settings, top_p: float | None) -> list[Sampling]:
    """How each item is asked: greedily, or so many times at random, and greedily too where a small
    majority gives way to that."""
    if not settings.drawn:
        return [Sampling()]
    draws = [
        Sampling(settings.temperature, top_p=top_p, seed=settings.seed + number)
        for number in range(settings.votes)
    ]
    return [*draws, Sampling()] if settings.vote_threshold else draws


def _one(
    id: str,
    own: Sequence[Completion],
    extract: Extract,
    form: Callable[[str], str],
    settings: Settings,
) -> tuple[Answer, float | None]:
    texts = [extract(one.text) for one in own]
    drawn = texts[: settings.votes]
    greedy = texts[settings.votes] if len(texts) > settings.votes else None
    chosen = voted(drawn, greedy, settings.vote_threshold, form) if settings.drawn else texts[0]
    first = own[0]
    answer = Answer(
        id,
        chosen or "",
        first.finish_reason,
        first.prompt_tokens,
        sum(one.completion_tokens for one in own),
    )
    if not settings.drawn:
        return answer, None
    same = sum(text is not None and form(text) == form(chosen or "") for text in drawn)
    return replace(answer), same / len(drawn)
