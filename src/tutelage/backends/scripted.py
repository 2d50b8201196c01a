"""A model whose answers are written in a file: `scripted:FILE`, for tests and for trying pipelines.

Each line of the file is `{"match": REGEX, "reply": TEXT}`; the first rule whose expression is found
anywhere in the prompt answers. The prompt is the contents of all turns, joined by newlines, and `.`
matches a newline too. A token is a word with the white space before it. A script knows no
probabilities: it can only generate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import RequestError, SourceError, WorkError, did_you_mean
from tutelage.lm import (
    Capabilities,
    Completion,
    Event,
    FinishReason,
    Piece,
    Prompt,
    Request,
    Score,
)

KEYS = ("match", "reply")


@dataclass(frozen=True)
class Rule:
    """One line of the script."""

    match: re.Pattern[str]
    reply: str


class ScriptedLM:
    """The LM that answers from a list of rules."""

    def __init__(self, rules: Sequence[Rule], name: str = "scripted") -> None:
        self._rules = tuple(rules)
        self._name = name

    @classmethod
    def open(cls, path: Path) -> ScriptedLM:
        """Read a script. Raises SourceError naming file and line at the first fault."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise SourceError(f"no such script: {path}", field=str(path)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"cannot read the script {path}: {error}", field=str(path)) from None
        lines = enumerate(text.split("\n"), start=1)
        rules = [_rule(line, f"{path}:{number}") for number, line in lines if line.strip()]
        if not rules:
            raise SourceError(f"the script {path} has no rule", field=str(path), expected=_FORM)
        return cls(rules, name=f"scripted:{path}")

    def capabilities(self) -> Capabilities:
        return Capabilities(name=self._name, chat=True)

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """One word an event, the requests one after the other.

        Raises WorkError if no rule matches a prompt, RequestError for a setting that would change
        which words are said: they stand in the script.
        """
        for request in requests:
            _refuse(request)
        for index, request in enumerate(requests):
            yield from self._answer(index, request, cancelled or (lambda _: False))

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        raise RequestError("a scripted model has no probabilities", got="score", hint=_NEEDS_MODEL)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise RequestError("a scripted model has no embeddings", got="embed", hint=_NEEDS_MODEL)

    def count_tokens(self, prompt: Prompt) -> int:
        return len(_text(prompt).split())

    def _answer(
        self, index: int, request: Request, cancelled: Callable[[int], bool]
    ) -> Iterator[Event]:
        text = _text(request.prompt)
        reply = _until_stop(self._reply(text), request.stop)
        words = re.findall(r"\s*\S+\s*\Z|\s*\S+", reply)
        finish_reason: FinishReason = "length" if len(words) > request.max_new_tokens else "stop"
        said: list[str] = []
        for word in words[: request.max_new_tokens]:
            if cancelled(index):
                finish_reason = "cancelled"
                break
            said.append(word)
            yield Piece(index, word)
        yield Completion(
            index, "".join(said), finish_reason, self.count_tokens(request.prompt), len(said)
        )

    def _reply(self, text: str) -> str:
        for rule in self._rules:
            if rule.match.search(text):
                return rule.reply
        raise WorkError(
            "no rule of the script matches the prompt",
            field=self._name,
            got=repr(text[:60]) + ("..." if len(text) > 60 else ""),
            expected="one of " + ", ".join(repr(rule.match.pattern) for rule in self._rules[:8]),
            hint='end the script with a rule that matches all: {"match": "", "reply": ...}',
        )


_FORM = '{"match": REGEX, "reply": TEXT}'
_NEEDS_MODEL = "use a local model or a server that reveals them"


def _refuse(request: Request) -> None:
    sampling = request.sampling
    for name, given in (
        ("logprobs", request.logprobs is not None),
        ("echo", request.prompt_logprobs is not None),
        ("guided", request.guided is not None),
        ("beam_width", request.search is not None),
        ("logit_bias", bool(sampling.logit_bias)),
        ("repetition_penalty", sampling.penalties.repetition != 1),
        ("presence_penalty", sampling.penalties.presence != 0),
        ("frequency_penalty", sampling.penalties.frequency != 0),
        ("no_repeat_ngram_size", sampling.penalties.no_repeat_ngram != 0),
        ("min_tokens", request.min_new_tokens != 0),
    ):
        if given:
            found = request.guided.name if name == "guided" and request.guided else name
            raise RequestError(
                f"a scripted model cannot honour {found}", field=found, hint=_NEEDS_MODEL
            )


def _rule(line: str, where: str) -> Rule:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where}: not JSON: {error}", field=where, expected=_FORM) from None
    _check_keys(values, where)
    try:
        return Rule(re.compile(values["match"], re.DOTALL), values["reply"])
    except (re.error, RecursionError, OverflowError) as error:
        raise SourceError(
            f"{where}: not a regular expression: {error}",
            field=where,
            got=repr(values["match"][:60]),
        ) from None


def _check_keys(values: Any, where: str) -> None:
    if not isinstance(values, dict):
        raise SourceError(f"{where}: not an object", field=where, expected=_FORM)
    for key in values:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS)
            raise SourceError(
                f"{where}: unknown key {key!r}", field=where, got=key, expected=_FORM, hint=hint
            )
    for key in KEYS:
        if not isinstance(values.get(key), str):
            got = type(values[key]).__name__ if key in values else "nothing"
            raise SourceError(
                f"{where}: {key!r} must be a text", field=where, got=got, expected=_FORM
            )


def _text(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message.content for message in prompt)


def _until_stop(reply: str, stops: Sequence[str]) -> str:
    ends = [reply.find(stop) for stop in stops if stop in reply]
    return reply[: min(ends)] if ends else reply
