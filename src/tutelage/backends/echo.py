"""Probabilities of a given text, as /completions echoes them. Pure functions of the server's JSON.

log p(continuation | context) = sum of log p(token) over the tokens of the continuation
"""

from __future__ import annotations

from typing import Any

from tutelage.errors import RequestError, WorkError
from tutelage.lm import Score


def echo_request(model: str, text: str) -> dict[str, Any]:
    """The request that makes a server reveal the probabilities of `text` and add nothing."""
    return {"model": model, "prompt": text, "max_tokens": 0, "echo": True, "logprobs": 1}


def first_choice(choices: Any, where: str) -> dict[str, Any]:
    """The only choice of an answer. Raises WorkError where there is none."""
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise WorkError(f"{where} answered without a choice", field=where)


def log_probabilities(answer: dict[str, Any], where: str) -> dict[str, list[Any]]:
    """OpenAI's `logprobs` object: four lists, one entry a token of prompt and answer."""
    found = first_choice(answer.get("choices"), where).get("logprobs") or {}
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    lists = {name: found.get(name) for name in names}
    lengths = {len(values) for values in lists.values() if isinstance(values, list)}
    if len(lengths) != 1 or not all(isinstance(values, list) for values in lists.values()):
        raise WorkError(f"{where} echoed no probabilities", field=where)
    return lists  # type: ignore[return-value]


def add_up(found: dict[str, list[Any]], begin: int, end: int, where: str) -> Score:
    """The tokens that stand between the characters `begin` and `end`, added up."""
    offsets: list[int] = found["text_offset"]
    chosen = [number for number, offset in enumerate(offsets) if begin <= offset < end]
    if not chosen or offsets[chosen[0]] != begin:
        raise RequestError(
            "the border between context and continuation lies inside a token of the server's",
            field=where,
            hint="move white space from the context's end to the continuation's beginning",
        )
    total, greedy = 0.0, True
    for number in chosen:
        value, best = found["token_logprobs"][number], found["top_logprobs"][number]
        if value is None:
            raise RequestError(
                "a first token has no probability", field=where, expected="a context not empty"
            )
        total += value
        greedy = greedy and value >= max((best or {}).values(), default=value)
    return Score(total, len(chosen), greedy)
