"""Turns that a program shows before every conversation, put before any LM.

What stands behind them answers as it was measured: examples after the conversation's own system
message, and none before raw text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from tutelage.lm import LM, Capabilities, Counted, Event, Message, Prompt, Request, Score
from tutelage.prompts.few_shot import with_turns


class TurnsBefore:
    """An LM that shows `turns` before every conversation it hands to `lm`."""

    def __init__(self, lm: LM, turns: Sequence[Message]) -> None:
        self.lm = lm
        self.turns = tuple(turns)

    def capabilities(self) -> Capabilities:
        return self.lm.capabilities()

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        shown = [replace(request, prompt=self._shown(request.prompt)) for request in requests]
        return self.lm.generate(shown, cancelled)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return self.lm.score([(self._shown(prompt), text) for prompt, text in pairs])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self.lm.embed(texts)

    def counts(self) -> Mapping[str, float]:
        return self.lm.counts() if isinstance(self.lm, Counted) else {}

    def count_tokens(self, prompt: Prompt) -> int | None:
        return self.lm.count_tokens(self._shown(prompt))

    def _shown(self, prompt: Prompt) -> Prompt:
        return prompt if isinstance(prompt, str) else with_turns(prompt, self.turns)
