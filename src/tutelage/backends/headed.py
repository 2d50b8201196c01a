"""A model with a task's head behind the seam: every prompt is answered in the head's own words.

A label, tags divided by spaces, a choice's words, words of the passage (`heads/`). What is asked
for of an answer that is written, as a temperature or a longest length, has nothing to say here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import Task, with_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.source import parse
from tutelage.errors import RequestError
from tutelage.heads._head import Question, Read, Reply, Unfit
from tutelage.heads.predict import Predictor
from tutelage.lm import Capabilities, Completion, Event, Piece, Prompt, Request, Score
from tutelage.machine.device import resolve, use_threads
from tutelage.models.forward import Model
from tutelage.peft._virtual import virtual_of
from tutelage.text.plain_text import source


class HeadLM:
    """An `lm.LM` over a model with a head."""

    def __init__(self, checkpoint: Checkpoint, model: Model, *, exact: bool = False) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.exact = exact
        self.predictor = Predictor(checkpoint, model, virtual=virtual_of(model), exact=exact)

    def capabilities(self) -> Capabilities:
        return Capabilities(
            name=self.checkpoint.source,
            context=self.predictor.coder.context,
            writes=False,
            labels=self.predictor.task.labels,
            metrics=self.predictor.head.metrics,
        )

    def count_tokens(self, prompt: Prompt) -> int:
        """Of its row, whole."""
        try:
            example = self.predictor.read(_question(prompt)).example
        except Unfit:
            return len(self.predictor.coder.coded(_text(prompt)).ids)
        longest = max((example, *example.beside), key=lambda row: len(row.ids))
        return len(self.predictor.coder.own(longest))

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """One piece and its completion for each request, `score` being the logarithm of the
        answer's likelihood where it has one. Raises RequestError for a prompt that the head cannot
        read, before anything is answered."""
        reads = [self._read(place, one.prompt) for place, one in enumerate(requests)]
        for place, reply in enumerate(self.predictor.answers(reads)):
            yield Piece(place, reply.text)
            likely = reply.likely.get(reply.text)
            yield Completion(
                place, reply.text, "stop",
                prompt_tokens=reads[place].example.inputs,
                completion_tokens=0,
                score=None if not likely else math.log(likely),
            )  # fmt: skip

    def replies(self, prompts: Sequence[Prompt]) -> list[Reply]:
        """Answers with the likelihood of each label. Raises RequestError as `generate`."""
        return self.predictor.answers([self._read(n, one) for n, one in enumerate(prompts)])

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        """The logarithm of the likelihood of each answer. Raises RequestError for one that the head
        cannot give."""
        replies = self.replies([prompt for prompt, _ in pairs])
        found = []
        for place, (reply, (_, text)) in enumerate(zip(replies, pairs, strict=True)):
            answer = text.strip()
            if answer not in reply.likely:
                raise RequestError(
                    "the head cannot give this answer", field=f"pair {place}", got=text,
                    expected=", ".join(reply.likely) or "a head with labels or choices",
                )  # fmt: skip
            likely = reply.likely[answer]
            found.append(Score(math.log(max(likely, 1e-300)), 1, answer == reply.text))
        return found

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise RequestError(
            "this model gives no embeddings", field="embed", got=self.checkpoint.source,
            expected="an encoder without a task's head",
        )  # fmt: skip

    def _read(self, place: int, prompt: Prompt) -> Read:
        try:
            return self.predictor.read(_question(prompt))
        except Unfit as unfit:
            raise RequestError(
                f"the {self.predictor.head.name} head cannot read the prompt ({unfit.reason})",
                field=f"prompt {place}", got=unfit.detail,
            ) from None  # fmt: skip


def open_untrained(
    source: str,
    head: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
    seed: int = 0,
) -> HeadLM:
    """The model with a head that has learned nothing: how long rows are to it can be asked, and
    what it answers means nothing. Raises SourceError, UnknownName."""
    placement = resolve(device, dtype, exact)
    use_threads(threads)
    checkpoint = with_head(open_checkpoint(parse(source), seed=seed), Task(head), seed)
    return HeadLM(checkpoint, build(checkpoint, placement.dtype, placement.device), exact=exact)


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else source(prompt)


def _question(prompt: Prompt) -> Question:
    return Question(_text(prompt))
