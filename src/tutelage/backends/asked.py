"""A request's settings as servers read them: OpenAI's names, and vLLM's for what OpenAI lacks.

What stands at its default is left out, so that a server that knows only OpenAI's fields is asked
for nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from tutelage.decoding import Guided, Penalties
from tutelage.errors import RequestError
from tutelage.lm import Request


def settings(request: Request) -> dict[str, Any]:
    """All fields but model and prompt. Raises RequestError for what no server is asked."""
    if request.search is not None:
        raise RequestError(
            "a search runs where the model is", field="beam_width", expected="a local model"
        )
    if request.logprobs is not None or request.prompt_logprobs is not None:
        raise RequestError(
            "log-probabilities are read from local models", field="logprobs",
            expected="a local model",
        )  # fmt: skip
    sampling = request.sampling
    body: dict[str, Any] = {
        "max_tokens": request.max_new_tokens,
        "temperature": sampling.temperature,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.min_new_tokens:
        body["min_tokens"] = request.min_new_tokens
    if sampling.temperature > 0:
        body["seed"] = sampling.seed
        names = ("top_p", "top_k", "min_p", "typical_p")
        given = {name: getattr(sampling, name) for name in names}
        body |= {name: value for name, value in given.items() if value is not None}
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): value for token, value in sampling.logit_bias}
    return body | _penalties(sampling.penalties) | _guided(request.guided)


def _penalties(penalties: Penalties) -> dict[str, Any]:
    values = {
        "repetition_penalty": penalties.repetition,
        "presence_penalty": penalties.presence,
        "frequency_penalty": penalties.frequency,
        "no_repeat_ngram_size": penalties.no_repeat_ngram,
    }
    neutral = {"repetition_penalty": 1.0}
    return {name: v for name, v in values.items() if v != neutral.get(name, 0)}


def _guided(guided: Guided | None) -> dict[str, Any]:
    """vLLM's `structured_outputs`."""
    if guided is None:
        return {}
    form: dict[str, Any] = {guided.kind: guided.text}
    if guided.kind == "json_schema":
        form = {"json": json.loads(guided.text)}
    elif guided.kind == "json_object":
        form = {"json_object": True}
    elif guided.kind == "choice":
        form = {"choice": list(guided.choices)}
    return {"structured_outputs": form}
