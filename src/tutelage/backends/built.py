"""A checkpoint as the model that answers: its adapter attached, few bits kept where they help; and
a draft model beside it."""

from __future__ import annotations

from pathlib import Path

from tutelage.checkpoints.build import build
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.quantized_file import is_quantized
from tutelage.checkpoints.source import parse
from tutelage.decoding import Speculative
from tutelage.generate.speculate import Speculation, held_alike
from tutelage.generate.step import Stepper
from tutelage.machine.device import Placement
from tutelage.models.forward import Model
from tutelage.peft.open import form_of, open_adapter
from tutelage.text.tokenizer import Tokenizer


def built(checkpoint: Checkpoint, placement: Placement, adapter: Path | None, wide: bool) -> Model:
    """The model with its adapter. Weights that are stored in few bits stay so where the C++ step
    reads them, unless an adapter is merged into them or `wide` asks for the model's own type."""
    form = None if adapter is None else form_of(adapter)
    where = (checkpoint, placement.dtype, placement.device)
    stored = adapter is None and not wide and is_quantized(checkpoint.config)
    model = build(*where, form, stored)
    if stored and Stepper.of(model) is None:
        model = build(*where)  # PyTorch alone would make every weight wide for every token
    if adapter is not None:
        open_adapter(model, checkpoint, adapter)
    return model


def speculating(asked: Speculative, tokenizer: Tokenizer, placement: Placement) -> Speculation:
    """With the draft model opened, where there is one. Raises ConfigError, SourceError."""
    if asked.draft is None:
        return Speculation(asked.tokens)
    draft = open_checkpoint(parse(asked.draft))
    held_alike(tokenizer, draft.tokenizer, asked.draft)
    return Speculation(asked.tokens, build(draft, placement.dtype, placement.device))
