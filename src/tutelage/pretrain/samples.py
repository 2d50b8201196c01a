"""What a model says while it learns: the same beginnings continued ten times during a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.checkpoints.reading import Reading
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.models.forward import Model

TIMES = 10
TOKENS = 40


class Samples:
    """Adds a line to `file` for each beginning and time; greedy, so that lines compare."""

    def __init__(self, beginnings: Sequence[str], reading: Reading, file: Path) -> None:
        self.beginnings = tuple(beginnings)
        self.reading = reading
        self.file = file

    def at(self, model: Model, step: int, total: int) -> None:
        """Write samples if this step is one of the ten. A step made again after a kill says again
        what it said: what the file has of it and of later ones is replaced."""
        if not self.beginnings or step * TIMES // total == (step - 1) * TIMES // total:
            return
        lines = self._before(step)
        lines += [json.dumps({"step": step, "text": text}) for text in self._continued(model)]
        store.write_text(self.file, "".join(f"{line}\n" for line in lines))

    def said(self) -> list[dict[str, Any]]:
        """All that was said."""
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        return self.file.read_text("utf-8").splitlines() if self.file.is_file() else []

    def _before(self, step: int) -> list[str]:
        """Lines of steps before this one."""
        return list(
            itertools.takewhile(lambda line: json.loads(line)["step"] < step, self._lines())
        )

    def _continued(self, model: Model) -> list[str]:
        tokenizer, both = self.reading.renderer.tokenizer, self.reading.both
        prompts = [tuple(self.reading.renderer.prompt_ids(text)) for text in self.beginnings]
        made: list[list[int]] = [[] for _ in prompts]
        jobs = [Job(prompt, TOKENS, tokenizer.eos_ids, both=both) for prompt in prompts]
        for token in Engine(model).run(jobs):
            if token.token is not None:
                made[token.index].append(token.token)
        return [
            tokenizer.decode([*prompt, *more]) for prompt, more in zip(prompts, made, strict=True)
        ]
