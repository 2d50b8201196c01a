"""The model that writes below a task's head, as tuning under the head has left it.

What tuning cost elsewhere is asked of it: of a decoder that learned to tell labels apart, how much
more ordinary text surprises it than before.
"""

from __future__ import annotations

from pathlib import Path

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.headed import with_head, without_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.source import parse
from tutelage.lm import LM
from tutelage.machine.device import resolve, use_threads
from tutelage.models.forward import Model
from tutelage.peft._head import task_in
from tutelage.peft.layout import CONFIG, new_tokens
from tutelage.peft.open import form_of, open_adapter
from tutelage.tokenizers.added import with_tokens


def open_below(
    source: str,
    artefact: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
    seed: int = 0,
) -> LM:
    """`source` with what was tuned from it under a head, an adapter or a whole model, but for the
    head: the tokens' scores are the base's own. The base is one that writes below the head
    (`checkpoints.headed.writes_below`). Raises SourceError, DamagedError."""
    placement = resolve(device, dtype, exact)
    use_threads(threads)
    where = (placement.dtype, placement.device)
    checkpoint = open_checkpoint(parse(source), seed=seed)
    model: Model
    if not (artefact / CONFIG).is_file():
        checkpoint = without_head(open_checkpoint(parse(str(artefact))), checkpoint)
        return LocalLM(checkpoint, build(checkpoint, *where), exact=exact)
    checkpoint = with_tokens(checkpoint, new_tokens(artefact))
    task = task_in(artefact)
    headed = checkpoint if task is None else with_head(checkpoint, task, seed)
    # The adapter knows its base by the weights of the class with the head, which are not all of
    # these: scores of tokens with weights of their own, and other names. That model is built first
    # and let go, so that two are never held at once.
    known = build(headed, *where, form_of(artefact)).built_from
    model = build(checkpoint, *where, form_of(artefact))
    model.built_from = known
    open_adapter(model, headed, artefact, head=False)
    return LocalLM(checkpoint, model, exact=exact)
