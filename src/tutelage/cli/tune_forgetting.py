"""What `tutelage tune` says of forgetting: the rise of loss on other text, and what the model still
can of small general tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import DataError

if TYPE_CHECKING:
    from tutelage.cli.shared import Shared
    from tutelage.cli.tune_data import Mixture
    from tutelage.lm import LM

Json = dict[str, Any]


def lost(model: str, out: Path, method: str, wanted: Mixture, shared: Shared) -> Json:
    """`forgetting`, measured, and `general`, by task; each None where nothing is asked for, or the
    model has no room for it."""
    from tutelage.backends.open import open_lm
    from tutelage.evaluate.general import asked, exam, kept
    from tutelage.peft import METHODS

    seed = shared.seed or 0
    where = {**shared.where(), "seed": seed}
    adapter = METHODS.get(method).adapter
    base = open_lm(model, **where)
    tuned = open_lm(model if adapter else str(out), adapter=out if adapter else None, **where)
    general = exam(wanted.questions, wanted.instructions, seed)
    return {
        "forgetting": rise_of(base, tuned, wanted.retention, seed),
        "general": kept(asked(base, general), asked(tuned, general), seed) or None,
    }


def rise_of(base: LM, tuned: LM, source: str | None, seed: int) -> Json | None:
    """Of the loss on other text, in nats a token; None where there is none, or none the model has
    room for. Raises DataError for text that was named and is not there."""
    from tutelage.data.retention import retention
    from tutelage.evaluate.forgetting import pairs_of, rise, short_enough, text_scores

    try:
        pairs = pairs_of(retention(source).texts)
    except DataError:
        if source is not None:
            raise
        return None
    for lm in (base, tuned):  # virtual tokens take some of the context
        pairs = [pairs[place] for place in short_enough(lm, pairs)]
    if not pairs:
        return None
    before = text_scores(base, pairs)
    return dict(rise(before, text_scores(tuned, pairs), seed)[0])
