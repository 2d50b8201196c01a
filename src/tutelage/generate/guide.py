"""Answers held to a form: which tokens may come next, by the library llguidance.

A form is compiled once, under limits, and copied for each answer. Its automaton walks the bytes of
the vocabulary's tokens, so any tokenizer will do. JSON is written as Python's `json.dumps` writes
it, one space behind commas and colons: where any white space may stand, small models write nothing
else. Text from outside reaches the library alone, which is memory-safe and bounded by fuel.
"""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from tutelage.decoding import Guided
from tutelage.errors import ConfigError, RequestError
from tutelage.text.tokenizer import Tokenizer

SEPARATORS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
KEPT = 32
"""Compiled forms that are remembered."""
LONGEST_MESSAGE = 300


class Guides:
    """Forms compiled for one vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled: OrderedDict[Guided, Any] = OrderedDict()

    def compile(self, guided: Guided) -> Callable[[], MatcherGuide]:
        """What makes a guide for each answer. Raises ConfigError naming the field for a form that
        cannot be read, is too large or asks for what is not supported, and where llguidance is not
        installed."""
        matcher = self._compiled.pop(guided, None)
        if matcher is None:
            matcher = self._matcher(guided)
        self._compiled[guided] = matcher
        if len(self._compiled) > KEPT:
            self._compiled.popitem(last=False)
        ends = self._tokenizer.eos_ids
        return lambda: MatcherGuide(matcher.deep_copy(), ends, guided.name)

    def _matcher(self, guided: Guided) -> Any:
        library = _library(guided.name)
        if not self._tokenizer.eos_ids:
            raise ConfigError("a model without an end token cannot be guided", field=guided.name)
        try:
            grammar = _grammar(library.LLMatcher, guided)
        except (ValueError, RecursionError) as error:
            raise _bad(guided, str(error)) from None
        limits = library.LLParserLimits(verbose_errors=False)
        failed, said = library.LLMatcher.validate_grammar_with_warnings(
            grammar, self._vocabulary, limits=limits
        )
        if failed:
            raise _bad(guided, said[0])
        matcher = library.LLMatcher(self._vocabulary, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise _bad(guided, matcher.get_error())
        return matcher

    @cached_property
    def _vocabulary(self) -> Any:
        library = importlib.import_module("llguidance")
        return library.LLTokenizer(
            library.TokenizerWrapper(_Vocabulary(self._tokenizer)),
            eos_token=sorted(self._tokenizer.eos_ids),
        )


class MatcherGuide:
    """One answer on its way through a form."""

    def __init__(self, matcher: Any, ends: frozenset[int], field: str) -> None:
        self._matcher, self._ends, self._field = matcher, ends, field

    def allowed(self) -> Bool[Tensor, "V"]:
        """Raises RequestError where the form turns out too costly on the way."""
        bias = self._matcher.compute_logit_bias()
        self._check()
        return torch.frombuffer(bytearray(bias), dtype=torch.uint8) > 0

    def push(self, token: int) -> None:
        """Raises RequestError as `allowed` does."""
        if token not in self._ends:
            self._matcher.consume_token(token)
            self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise RequestError(
                "the form became too costly to follow", field=self._field,
                hint="make it simpler: shorter repeats, fewer alternatives",
            )  # fmt: skip


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = min(tokenizer.eos_ids)
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.control_ids)
        self.tokens = [tokenizer.bytes_of(id) for id in range(tokenizer.vocabulary)]

    def __call__(self, text: bytes) -> Sequence[int]:
        return self._tokenizer.encode_plain(text.decode(errors="replace"))


def _grammar(matcher: Any, guided: Guided) -> str:
    if guided.kind == "json_schema":
        _held_object(json.loads(guided.text), guided)
        return str(matcher.grammar_from_json_schema(guided.text, overrides=SEPARATORS))
    if guided.kind == "json_object":
        return str(matcher.grammar_from_json_schema({"type": "object"}, overrides=SEPARATORS))
    if guided.kind == "regex":
        return str(matcher.grammar_from_regex(guided.text))
    if guided.kind == "choice":
        texts = " | ".join(json.dumps(text, ensure_ascii=False) for text in guided.choices)
        return str(matcher.grammar_from_lark(f"start: {texts}"))
    return str(matcher.grammar_from_lark(guided.text))


def _held_object(schema: Any, guided: Guided) -> None:
    if not isinstance(schema, dict | bool):
        raise _bad(guided, "a schema is an object")


def _bad(guided: Guided, why: str) -> ConfigError:
    said = " ".join(why.split())[:LONGEST_MESSAGE]
    name = guided.name
    return ConfigError(f"{name} cannot be used: {said}", field=name, expected="a form it can hold")


def _library(field: str) -> Any:
    try:
        return importlib.import_module("llguidance")
    except ImportError:
        raise ConfigError(
            "holding answers to a form needs llguidance", field=field,
            hint="pip install 'tutelage[guided]'",
        ) from None  # fmt: skip
