"""Whether a model whose head was tuned answers one thing to the very rows that it was tuned on."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.rows import Row
from tutelage.heads._head import Read, Unfit
from tutelage.heads.examples import question_of
from tutelage.heads.predict import Predictor
from tutelage.models.forward import Model
from tutelage.peft._virtual import virtual_of
from tutelage.score._collapse import Collapse, collapse
from tutelage.text.task_text import choices_in
from tutelage.train.prepare import Run

ROWS = 64
"""Asked, spread over all."""


def collapsed(run: Run, model: Model, rows: Sequence[Row]) -> Collapse | None:
    """Of some rows that can be read. None for a model that writes."""
    if run.task is None:
        return None
    model.eval()
    predictor = Predictor(run.checkpoint, model, virtual=virtual_of(model))
    some = rows[:: -(-len(rows) // ROWS)]
    asked = [(read, row) for row in some if (read := _read(predictor, row)) is not None]
    said = [reply.text for reply in predictor.answers([read for read, _ in asked])]
    right = [row.completion or "" for _, row in asked]
    choices = [choices_in(question_of(row).text)[1] for _, row in asked]
    return collapse(said, right, choices)


def _read(predictor: Predictor, row: Row) -> Read | None:
    """None for a row that was set aside."""
    if row.completion is None or not row.messages:
        return None
    try:
        return predictor.read(question_of(row))
    except Unfit:
        return None
