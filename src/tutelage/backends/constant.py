"""One answer to every prompt, whatever it asks: any model that has learned does better.

Needs no model and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tutelage.errors import RequestError
from tutelage.lm import Capabilities, Completion, Event, Piece, Prompt, Request, Score
from tutelage.text.plain_text import source


@dataclass(frozen=True)
class Constant:
    """The answer; with `each_word` it is given once for every word of the prompt."""

    answer: str
    each_word: bool = False


class ConstantLM:
    """An `lm.LM` that always answers alike."""

    def __init__(self, constant: Constant) -> None:
        self.constant = constant

    def capabilities(self) -> Capabilities:
        return Capabilities(name=f"always {self.constant.answer!r}", writes=False)

    def count_tokens(self, prompt: Prompt) -> int:
        """Words."""
        return len(_text(prompt).split())

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """One piece and its completion for each request."""
        for place, request in enumerate(requests):
            words = self.count_tokens(request.prompt)
            times = words if self.constant.each_word else 1
            text = " ".join([self.constant.answer] * times)
            yield Piece(place, text)
            yield Completion(place, text, "stop", prompt_tokens=words, completion_tokens=0)

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        raise _no_model("score")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise _no_model("embed")


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else source(prompt)


def _no_model(asked: str) -> RequestError:
    return RequestError(
        "a constant answer is no model", field=asked, expected="a model that reads its prompt"
    )
