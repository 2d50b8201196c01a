"""A language model of words: answers by rule, and scores by a table of probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from tutelage.lm import Capabilities, Completion, Event, Piece, Prompt, Request, Score


def text_of(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(m.content for m in prompt)


class WordLM:
    """A token is a word. Answers come in reverse order of the requests, as batches may."""

    def __init__(
        self,
        answer: Callable[[str], str] = lambda prompt: prompt,
        probabilities: Mapping[str, float] | None = None,
        context: int | None = None,
    ) -> None:
        self.answer = answer
        self.probabilities = probabilities or {}
        self.context = context
        self.asked: list[Request] = []

    def capabilities(self) -> Capabilities:
        return Capabilities("words", score=True, chat=True, context=self.context)

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        self.asked.extend(requests)
        for index, request in reversed(list(enumerate(requests))):
            words = re.findall(r"\s*\S+\s*\Z|\s*\S+", self.answer(text_of(request.prompt)))
            kept = words[: request.max_new_tokens]
            yield Piece(index, "".join(kept))
            ending = "length" if len(kept) < len(words) else "stop"
            prompt_tokens = self.count_tokens(request.prompt)
            yield Completion(index, "".join(kept), ending, prompt_tokens, len(kept))

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        scores = []
        for _, continuation in pairs:
            logs = [math.log(self.probabilities.get(word, 0.5)) for word in continuation.split()]
            scores.append(Score(sum(logs), len(logs), False))
        return scores

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise AssertionError("nothing here embeds")

    def count_tokens(self, prompt: Prompt) -> int:
        return len(text_of(prompt).split())
