"""Pains of adapters: opened on what they were not made for, merged wrongly, opened in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.guards.guard import Guard, Patch, Ways, unless_refused
from tests.guards.learning import USER, WHERE
from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import built, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.train.rows import SOURCE, config
from tests.unit.train.rows import tuned as run_tuned
from tutelage import store
from tutelage.backends import local
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli import model_adapters
from tutelage.cli.main import run_command
from tutelage.cli.model import pull
from tutelage.errors import SourceError
from tutelage.nn.form import Form
from tutelage.objectives import clm
from tutelage.peft import METHODS, _new_rows, _wrapped, layout
from tutelage.peft.open import open_adapter
from tutelage.train import loop

NEAR = 1e-3
"""Nats a token between models that answer alike."""


def the_template_is_another(folder: Path, patch: Patch) -> Ways:
    """4: an adapter is served with another chat template than it was trained with."""
    run_tuned(folder / "adapter")
    pull(SOURCE, out=folder / "model")
    (folder / "model" / store.MANIFEST).unlink()
    file = folder / "model" / "tokenizer_config.json"
    text = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    (folder / "model" / "chat_template.jinja").unlink(missing_ok=True)
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": text}))
    trained = LocalLM.open(SOURCE, adapter=folder / "adapter", **WHERE).renderer.prompt_ids(USER)
    served = unless_refused(
        SourceError,
        lambda: LocalLM.open(str(folder / "model"), adapter=folder / "adapter", **WHERE),
    )
    read = trained if served is None else served.renderer.prompt_ids(USER)
    same = read == trained
    yield None if same else f"{len(read)} tokens are read where {len(trained)} were learned"


def any_template(patch: Patch) -> None:
    patch.setattr(layout, "_refuse_other_template", lambda path, made_on, base: None)


def an_adapter_is_put_into_another_base(folder: Path, patch: Patch) -> Ways:
    """13: quantized, wide, or of other bits than the adapter saw, its base answers otherwise; and
    so does another model."""
    checkpoint, other = checkpoint_of(their_llama(6)), checkpoint_of(their_llama(7))
    for name in ("lora", "qlora"):
        model, settings = tuned(name, checkpoint, size=0.2)
        METHODS.get(name).write(model, checkpoint, settings, folder / name)
    for name, form, base in (
        ("lora", Form(4), checkpoint), ("qlora", None, checkpoint), ("qlora", Form(8), checkpoint),
        ("lora", None, other),
    ):  # fmt: skip
        right = built(name, checkpoint)
        open_adapter(right, checkpoint, folder / name)
        model = build(base, form=form)
        opened = unless_refused(
            SourceError, lambda m=model, b=base, n=name: open_adapter(m, b, folder / n)
        )
        apart = 0.0 if opened is None else abs(_nats(model) - _nats(right))
        yield f"answers are {apart:.2g} nats a token away" if apart > NEAR else None


def any_base(patch: Patch) -> None:
    for check in ("_refuse_other_weights", "_refuse_other_form"):
        patch.setattr(layout, check, lambda path, made_on, base: None)


def _nats(model: Any) -> float:
    """Of a token."""
    found = loop.loss_of(model, examples_of(3), clm.loss)
    return float(found.total) / found.count


def merging_changes_the_answers(folder: Path, patch: Patch) -> Ways:
    """14: a merged model that does not answer as the adapter does is written."""
    run_tuned(folder / "adapter")
    merge = _wrapped.merge

    def wrong(model: Any) -> None:
        merge(model)
        with torch.no_grad():
            model.blocks[0].mlp.down.weight.mul_(-9)

    object.__setattr__(METHODS.get("lora").actions(), "merge", wrong)
    try:
        words = ["model", "merge", SOURCE, "--adapter", str(folder / "adapter"), "--json"]
        run_command([*words, "--out", str(folder / "merged")])
    finally:
        object.__setattr__(METHODS.get("lora").actions(), "merge", merge)
    note = folder / "merged" / model_adapters.MERGED
    yield f"{json.loads(note.read_text())['agreement']} is written" if note.exists() else None


def no_bound(patch: Patch) -> None:
    patch.setattr(model_adapters, "FARTHEST", float("inf"))


def new_tokens_are_lost(folder: Path, patch: Patch) -> Ways:
    """16: a new word is pieces again when its adapter is opened, or its learned row is lost."""
    changes: dict[str, Any] = {"new_tokens": ("teal",), "learning_rate": 0.05}
    run_tuned(folder / "out", config(**changes))
    lm = LocalLM.open(SOURCE, adapter=folder / "out", **WHERE)
    pieces = lm.checkpoint.tokenizer.encode_plain("teal")
    yield f"the new word is {len(pieces)} tokens" if len(pieces) != 1 else None
    place = open_checkpoint(SOURCE, seed=0).tokenizer.vocabulary
    tensors = load_file(folder / "out" / "adapter_model.safetensors")
    learned = next(value for name, value in tensors.items() if "trainable_tokens" in name)[0]
    table = lm.model.embed.tokens.weight
    kept = len(table) > place and torch.equal(table[place], learned)
    yield None if kept else "the row that was learned for it is not in the model"


def no_rows(patch: Patch) -> None:
    """Neither opened with, nor missed."""
    patch.setattr(layout, "_refuse_other_weights", lambda path, made_on, base: None)
    patch.setattr(local, "new_tokens", lambda folder: ())
    patch.setattr(_new_rows, "read", lambda model, checkpoint, folder: None)


GUARDS = [
    Guard(4, the_template_is_another, any_template),
    Guard(13, an_adapter_is_put_into_another_base, any_base),
    Guard(14, merging_changes_the_answers, no_bound),
    Guard(16, new_tokens_are_lost, no_rows),
]
