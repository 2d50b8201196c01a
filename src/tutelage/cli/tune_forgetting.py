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


def lost(
    model: str, out: Path, method: str, wanted: Mixture, shared: Shared, settings: Json
) -> Json:
    """`forgetting`, measured, and `general`, by task; each None where nothing is asked for, the
    model has no room for it, or below its head is none that writes with the base's tokens.
    `settings` are those of the tuning."""
    from tutelage.backends.open import open_lm
    from tutelage.checkpoints.headed import writes_below
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.evaluate.general import asked, exam, kept
    from tutelage.peft import METHODS

    seed = shared.seed or 0
    where = {**shared.where(), "seed": seed}
    head = settings["head"]
    if head is not None:
        new_table = bool(settings["new_tokens"]) and not METHODS.get(method).adapter
        if new_table or not writes_below(open_checkpoint(model, seed=seed), head):
            return {"forgetting": None, "general": None}
    base = open_lm(model, **where)
    tuned = _tuned(model, out, method, head, where)
    general = exam(wanted.questions, wanted.instructions, seed)
    return {
        "forgetting": rise_of(base, tuned, wanted.retention, seed),
        "general": kept(asked(base, general), asked(tuned, general), seed) or None,
    }


def _tuned(model: str, out: Path, method: str, head: str | None, where: Json) -> LM:
    """What tuning wrote; of a model with a head that below it."""
    from tutelage.backends.open import open_lm
    from tutelage.peft import METHODS

    if head is not None:
        from tutelage.backends.below import open_below

        return open_below(model, out, **where)
    adapter = METHODS.get(method).adapter
    return open_lm(model if adapter else str(out), adapter=out if adapter else None, **where)


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
