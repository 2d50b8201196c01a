"""What a model with a head answers, rows read in packs.

predictor = Predictor(checkpoint, model)
predictor.replies([Question("a text")])[0].text
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import Task, task_of
from tutelage.checkpoints.reading import Virtual
from tutelage.data.pack import batch, memory_of, pack
from tutelage.heads import HEADS
from tutelage.heads._head import Head, Question, Read, Reply
from tutelage.heads.coder import Coder
from tutelage.models.forward import Model, forward, task_scores

PACK_TOKENS = 2048


class Predictor:
    """A model with a head, and how it reads. `virtual` is what an adapter puts before every row;
    `exact` reads each row alone, so that nothing depends on what shares the pack."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: Model,
        *,
        virtual: Virtual | None = None,
        exact: bool = False,
    ) -> None:
        task = task_of(checkpoint)
        assert task is not None, "a model with a head"
        self.task: Task = task
        self.head: Head = HEADS.get(task.head)
        self.model = model
        self.coder = Coder.of(checkpoint, virtual)
        self.exact = exact

    def read(self, asked: Question) -> Read:
        """The question as tokens. Raises Unfit."""
        return self.head.read(self.coder, asked, self.task.labels)

    def replies(self, asked: Sequence[Question]) -> list[Reply]:
        """An answer to each. Raises Unfit."""
        return self.answers([self.read(one) for one in asked])

    @torch.inference_mode()
    def answers(self, reads: Sequence[Read]) -> list[Reply]:
        """The same of questions that were read already."""
        examples = [one.example for one in reads]
        order = sorted(range(len(reads)), key=lambda place: examples[place].inputs)
        steps = [[n] for n in order] if self.exact else batch(examples, order, PACK_TOKENS)
        found: dict[int, Reply] = {}
        for step in steps:
            rows = [examples[place] for place in step]
            memory = memory_of(rows) if any(row.memory for row in rows) else None
            each = task_scores(self.model, forward(self.model, pack(rows), memory))
            sizes = [_places(row.labels, row.beside) for row in rows]
            for place, part in zip(step, each.split(sizes), strict=True):
                found[place] = self.head.reply(part, reads[place], self.task.labels)
        return [found[place] for place in range(len(reads))]


def _places(labels: Sequence[float], beside: Sequence[object]) -> int:
    """Scores of a row and of those beside it, which have one each."""
    return len(labels) + len(beside)
