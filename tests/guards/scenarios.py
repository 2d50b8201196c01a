"""What users of other tools suffer from in tuning, each a small scenario that fails if it happens.

The numbers are those of the list of pains in the project's research (thirty, of which these concern
tuning). A scenario knows nothing of the guard that prevents it.
"""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached, built, tuned
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.text.vocabularies import byte_level_bpe
from tests.unit.train.rows import SOURCE, config, rows_of
from tests.unit.train.rows import tuned as run_tuned
from tutelage import store
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.cli.main import run_command
from tutelage.cli.model import pull
from tutelage.config import validate
from tutelage.data.rows import Row
from tutelage.errors import (
    ConfigError,
    GuardError,
    MemoryLimitError,
    RequestError,
    SourceError,
    WorkError,
)
from tutelage.kernels import library as kernels
from tutelage.lm import Message
from tutelage.nn.quantized import Form
from tutelage.objectives import clm
from tutelage.peft import METHODS, _wrapped
from tutelage.peft.open import open_adapter
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.render import Renderer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer
from tutelage.train import examples, loop, prepare, rehearsal
from tutelage.train.config import TuneConfig
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
USER = (Message("user", "2+2?"),)


def run_of(**changes: Any) -> prepare.Run:
    return prepare.prepare(SOURCE, rows_of(), config(**changes), **WHERE)


def the_disk_is_full_when_it_is_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1: a run that cannot be saved fails in its rehearsal, not after hours."""

    def full(operation: str, path: Path) -> None:
        if path.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(store, "before", full)
    with pytest.raises(WorkError):
        rehearsal.rehearse(run_of(), folder)


def memory_runs_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2: who runs out of memory learns which setting would fit."""

    def exhausted(*given: Any, **named: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(prepare, "build", exhausted)
    with pytest.raises(MemoryLimitError) as caught:
        run_tuned(folder / "out")
    assert "--micro-batches" in str(caught.value.hint)


def the_template_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4: an adapter is not served with another chat template than it was trained with."""
    run_tuned(folder / "adapter")
    pull(SOURCE, out=folder / "model")
    (folder / "model" / store.MANIFEST).unlink()
    file = folder / "model" / "tokenizer_config.json"
    said = json.loads(file.read_text())
    template = folder / "model" / "chat_template.jinja"
    text = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    if template.is_file():
        template.write_text(text)
    file.write_text(json.dumps({**said, "chat_template": text}))
    with pytest.raises(SourceError, match="chat template"):
        LocalLM.open(str(folder / "model"), adapter=folder / "adapter", **WHERE)


def the_end_is_not_learned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5: every row ends with an end token that is trained, padding or no padding."""
    made = byte_tokenizer()
    both = SpecialTokens(eos=made.special.eos, pad=made.special.eos)
    tokenizer = Tokenizer(
        made.json, both, template="{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    found, aside = examples.examples_of(rows_of(), Reading(Renderer(tokenizer), 512))
    assert found and not aside
    assert all(example.labels[-1] in tokenizer.eos_ids for example in found)
    bare = Tokenizer(made.json, SpecialTokens())
    with pytest.raises(GuardError, match="no end token"):
        examples.examples_of(rows_of(), Reading(Renderer(bare), 512))


def the_start_token_stands_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6: at most one start token, whoever writes it."""
    made = json.loads(byte_level_bpe(bos="<s>", eos="</s>").json)
    start = next(t["id"] for t in made["added_tokens"] if t["content"] == "<s>")
    pieces = [
        {"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    made["post_processor"] = {
        "type": "TemplateProcessing", "single": pieces, "pair": pieces,
        "special_tokens": {"<s>": {"id": "<s>", "ids": [start], "tokens": ["<s>"]}},
    }  # fmt: skip
    tokenizer = Tokenizer(json.dumps(made), SpecialTokens(bos="<s>", eos="</s>"))
    renderer = Renderer(tokenizer)
    for text in ("a text", "<s>a text"):
        assert renderer.prompt_ids(text).count(start) == 1


def nothing_is_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """7: a step without a gradient, and one without a trained token, are refused."""
    checkpoint = checkpoint_of(their_llama())
    model = build(checkpoint)
    attached("lora", model, checkpoint)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    plan = loop.Plan(Schedule.tuning(1, 1e-3))

    def one_step(loss: Any) -> None:
        steps = loop.train(model, parameters, adamw(parameters, 1e-3), [rows], loss, plan)
        next(iter(steps))

    def flat(*given: Any) -> Any:
        found = clm.loss(*given)
        return clm.LossSum(found.total * 0, found.count)

    rows = examples_of(3)
    with pytest.raises(GuardError, match="gradient is zero"):
        one_step(flat)
    rows = [replace(row, weight=0.0) for row in examples_of(3)]
    with pytest.raises(GuardError, match="no trained token"):
        one_step(clm.loss)


def the_template_writes_the_answer_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8: what is trained stands behind exactly the prompt that is served."""
    template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<think>{% endif %}"
    )
    made = byte_tokenizer()
    tokenizer = Tokenizer(made.json, SpecialTokens(eos="<|im_end|>"), template=template)
    with pytest.raises(GuardError, match="differently"):
        Renderer(tokenizer).example_ids(USER, "answer")


def packed_rows_see_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """9: the loss of packed rows is that of each row alone."""
    model = build(checkpoint_of(their_llama()))
    rows = examples_of(7, count=4)
    together = float(loop.loss_of(model, rows, clm.loss).total)
    alone = sum(float(loop.loss_of(model, [row], clm.loss).total) for row in rows)
    assert together == pytest.approx(alone, rel=1e-5)


def a_resumed_run_forgets_its_moments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10: stopped and gone on equals never stopped, bit for bit."""
    run_tuned(folder / "whole")
    seen: list[int] = []
    run_tuned(folder / "out", deadline=lambda: seen.append(1) is None and len(seen) == 3)
    run_tuned(folder / "out")
    whole, resumed = (
        load_file(folder / name / "adapter_model.safetensors") for name in ("whole", "out")
    )
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def rows_come_in_another_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """11: which rows a step sees follows from the seed alone, so that resuming finds its place."""
    first, again = run_of(), run_of()
    assert [[row.name for row in step] for step in first.steps] == [
        [row.name for row in step] for step in again.steps
    ]
    other = prepare.prepare(SOURCE, rows_of(), config(seed=1), **WHERE)
    assert [row.name for row in other.steps[0]] != [row.name for row in first.steps[0]]


def a_checkpoint_is_tied_to_its_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12: a checkpoint is whole tensors by name, whoever shared the work."""
    run_tuned(folder / "out", deadline=lambda: True)
    (kept,) = (folder / "out.state").glob("step-*")
    _, work = prepare.working(run_of())
    weights = load_file(kept / "weights.safetensors")
    assert {n: v.shape for n, v in weights.items()} == {
        n: p.shape for n, p in work.parameters.items()
    }
    moments = load_file(kept / "optimizer.safetensors")
    assert {n.partition(":")[0] for n in moments} == set(work.parameters)


def an_adapter_is_merged_into_another_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """13: only the base that the adapter saw takes it in."""
    checkpoint = checkpoint_of(their_llama(6))
    model, settings = tuned("lora", checkpoint, size=0.2)
    METHODS.get("lora").write(model, checkpoint, settings, folder / "wide")
    model, settings = tuned("qlora", checkpoint, size=0.2)
    METHODS.get("qlora").write(model, checkpoint, settings, folder / "narrow")
    for adapter, form in (("wide", Form(4)), ("narrow", None), ("narrow", Form(8))):
        with pytest.raises(SourceError, match="held otherwise"):
            open_adapter(build(checkpoint, form=form), checkpoint, folder / adapter)
    open_adapter(built("qlora", checkpoint), checkpoint, folder / "narrow")


def merging_changes_the_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """14: a merge that does not answer as the adapter does is not written."""
    run_tuned(folder / "adapter")
    merge = _wrapped.merge

    def wrong(model: Any) -> None:
        merge(model)
        with torch.no_grad():
            model.blocks[0].mlp.down.weight.mul_(-9)

    object.__setattr__(METHODS.get("lora"), "merge", wrong)
    try:
        words = ["model", "merge", SOURCE, "--adapter", str(folder / "adapter"), "--json"]
        code = run_command([*words, "--out", str(folder / "merged")])
    finally:
        object.__setattr__(METHODS.get("lora"), "merge", merge)
    assert code == 1 and not (folder / "merged").exists()


def new_tokens_are_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16: the rows of new tokens that were learned are there when the adapter is opened."""
    changes: dict[str, Any] = {"new_tokens": ("teal",), "learning_rate": 0.05}
    run_tuned(folder / "out", config(**changes))
    lm = LocalLM.open(SOURCE, adapter=folder / "out", **WHERE)
    (place,) = lm.checkpoint.tokenizer.encode_plain("teal")
    assert place == open_checkpoint(SOURCE, seed=0).tokenizer.vocabulary
    tensors = load_file(folder / "out" / "adapter_model.safetensors")
    rows = next(value for name, value in tensors.items() if "trainable_tokens" in name)
    assert torch.equal(lm.model.embed.tokens.weight[place], rows[0])


def accumulation_changes_the_loss(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """17: an update cut into packs is the same update."""
    checkpoint = checkpoint_of(their_llama())
    rows, found = examples_of(7, count=6), []
    for parts in (1, 4):
        model = build(checkpoint)
        attached("lora", model, checkpoint)
        plan = loop.Plan(Schedule.tuning(1, 1e-3), micro_batches=parts)
        mean = loop._gradients(model, rows, clm.loss, plan)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found.append((mean, torch.cat([grad.flatten() for grad in grads])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def an_option_is_ignored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """18: an option that the method does not know, and an unknown key, are refused."""
    with pytest.raises(ConfigError) as caught:
        run_of(method="ia3", options={"rank": 4})
    assert caught.value.field == "--rank"
    with pytest.raises(ConfigError, match="unknown key"):
        validate(TuneConfig, {"learning_rat": 0.1})


def another_version_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """19: work that another version of torch began is not gone on from silently."""
    run_tuned(folder / "out", deadline=lambda: True)
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    with pytest.raises(RequestError, match="changed"):
        run_tuned(folder / "out")


def a_kernel_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20: without the compiled library everything works, with the same results."""
    first = run_tuned(folder / "with")
    kernels.library.cache_clear()
    monkeypatch.setattr(kernels.Path, "glob", lambda self, pattern: iter(()))
    try:
        assert kernels.library() is None
        second = run_tuned(folder / "without")
    finally:
        kernels.library.cache_clear()
    assert first["loss"]["last"] == pytest.approx(second["loss"]["last"], rel=1e-3)


def a_row_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30: a row that does not fit is set aside, counted and named, never cut."""
    rows: list[Row] = rows_of(3)
    rows[1] = replace(rows[1], completion="x" * 5000, where="rows.jsonl:2")
    run = prepare.prepare(SOURCE, rows, config(), **WHERE)
    assert [one["where"] for one in run.set_aside] == ["rows.jsonl:2"]
    assert run.set_aside[0]["reason"] == "too-long" and len(run.examples) == 2
