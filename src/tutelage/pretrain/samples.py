"""What a model says while it learns: the same beginnings continued ten times during a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tutelage.generate.engine import Engine, Job
from tutelage.models.forward import Model
from tutelage.text.tokenizer import Tokenizer

TIMES = 10
TOKENS = 40


class Samples:
    """Appends a line to `file` for each beginning and time; greedy, so that lines compare."""

    def __init__(self, beginnings: Sequence[str], tokenizer: Tokenizer, file: Path) -> None:
        self.beginnings = tuple(beginnings)
        self.tokenizer = tokenizer
        self.file = file

    def at(self, model: Model, step: int, total: int) -> None:
        """Write samples if this step is one of the ten."""
        if not self.beginnings or step * TIMES // total == (step - 1) * TIMES // total:
            return
        with self.file.open("a", encoding="utf-8") as lines:
            for text in self._continued(model):
                lines.write(json.dumps({"step": step, "text": text}) + "\n")

    def _continued(self, model: Model) -> list[str]:
        prompts = [tuple(self.tokenizer.encode_plain(text)) for text in self.beginnings]
        made: list[list[int]] = [[] for _ in prompts]
        jobs = [Job(prompt, TOKENS, self.tokenizer.eos_ids) for prompt in prompts]
        for token in Engine(model).run(jobs):
            if token.token is not None:
                made[token.index].append(token.token)
        return [
            self.tokenizer.decode([*prompt, *more])
            for prompt, more in zip(prompts, made, strict=True)
        ]
