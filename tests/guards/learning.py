"""Pains of what is learned: another text than is served, no end, nothing at all, other rows too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.guards.guard import Guard, Patch, Ways, unless_refused
from tests.parity.test_packed_loss import examples_of
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.heads.rows import rows_of as labelled
from tests.unit.text.vocabularies import byte_level_bpe
from tests.unit.train.rows import SOURCE, config, rows_of
from tutelage.backends import room
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.reading import Reading
from tutelage.data.pack import Example, pack
from tutelage.errors import GuardError, RequestError
from tutelage.lm import Message, Request, complete
from tutelage.objectives import clm
from tutelage.peft import _head
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.render import Renderer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer
from tutelage.train import examples, loop, prepare
from tutelage.train.config import TuneConfig
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
USER = (Message("user", "2+2?"),)
CONTENTS = "{% for m in messages %}{{ m.content }}{% endfor %}"


def the_end_is_not_learned(folder: Path, patch: Patch) -> Ways:
    """5: a model that never learned to stop, as padding is its end token, or it has none."""
    made = byte_tokenizer()
    for special in (SpecialTokens(eos=made.special.eos, pad=made.special.eos), SpecialTokens()):
        tokenizer = Tokenizer(made.json, special, template=CONTENTS)
        reading = Reading(Renderer(tokenizer), 512)
        taught = unless_refused(GuardError, lambda at=reading: examples.examples_of(rows_of(), at))
        found, _ = taught or ([], [])
        endless = [one for one in found if one.labels[-1] not in tokenizer.eos_ids]
        yield f"{len(endless)} rows are learned without an end" if endless else None


def no_end(patch: Patch) -> None:
    def cut(self: Renderer, prompt: str, whole: str) -> Any:
        ids, ends = self._ids(prompt), self.tokenizer.eos_ids
        return ids, [one for one in self._ids(whole)[len(ids) :] if one not in ends]

    patch.setattr(Renderer, "_example", cut)


def the_start_token_stands_twice(folder: Path, patch: Patch) -> Ways:
    """6: the tokenizer writes a start token where the text or the template has one."""
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
    special = SpecialTokens(bos="<s>", eos="</s>")
    renderer = Renderer(Tokenizer(json.dumps(made), special, template="{{ bos_token }}" + CONTENTS))
    for prompt in ("<s>a text", USER):
        count = renderer.prompt_ids(prompt).count(start)
        yield f"{count} start tokens before {prompt}" if count > 1 else None


def always_a_start(patch: Patch) -> None:
    def raw(self: Renderer, text: str, plain_end: str = "") -> list[int]:
        return [*self.tokenizer.prefix, *self.tokenizer.encode(text)]

    patch.setattr(Renderer, "_raw_ids", raw)
    patch.setattr(Renderer, "_ids", raw)


def nothing_is_learned(folder: Path, patch: Patch) -> Ways:
    """7: a step goes by, its loss looks like one, and there was nothing to learn from."""

    def flat(*given: Any) -> Any:
        found = clm.loss(*given)
        return clm.LossSum(found.total * 0 + found.total.detach(), found.count)

    for weight, loss in ((0.0, clm.loss), (1.0, flat)):
        rows = [replace(row, weight=weight) for row in examples_of(3)]
        step = unless_refused(GuardError, lambda rows=rows, loss=loss: _one_step(rows, loss))
        dead = step is not None and step.gradient_norm == 0
        yield f"a step with loss {step.loss:.3f} taught nothing" if step and dead else None
    still = unless_refused(GuardError, lambda: _learned_beside_a_head(folder))
    yield f"{still} of the method stayed, and the head learned" if still else None


def _learned_beside_a_head(folder: Path) -> int:
    """How many of the method's tensors a step leaves as they were, where what the head reads hangs
    on none of them."""
    asked = TuneConfig(head="classification", method="bitfit", steps=1)
    run = prepare.prepare(SOURCE, labelled("classification", folder), asked, **WHERE)
    model, work = prepare.working(run)
    heads = {weight.path for weight in _head.trained(run.weights)}
    own = {name: value for name, value in work.parameters.items() if name not in heads}
    before = {name: value.detach().clone() for name, value in own.items()}

    def apart(model: Any, vectors: torch.Tensor, *given: Any) -> clm.LossSum:
        return run.loss(model, vectors.detach(), *given)

    next(loop.train(model, work.parameters, work.optimizer, work.steps, apart, work.plan))
    return sum(torch.equal(value, before[name]) for name, value in own.items())


def _one_step(rows: Sequence[Example], loss: Any) -> loop.Step:
    checkpoint = checkpoint_of(their_llama())
    model = build(checkpoint)
    attached("lora", model, checkpoint)
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    plan = loop.Plan(Schedule.tuning(1, 1e-3))
    return next(loop.train(model, parameters, adamw(parameters, 1e-3), [rows], loss, plan))


def no_look_at_what_is_taught(patch: Patch) -> None:
    patch.setattr(loop, "_weight", lambda rows: sum(r.trained * r.weight for r in rows) or 1)
    patch.setattr(loop, "_refuse_dead_gradient", lambda norm, rows: None)
    patch.setattr(loop, "_refuse_dead_parts", lambda parts, parameters, rows: None)


def the_template_writes_the_answer_otherwise(folder: Path, patch: Patch) -> Ways:
    """8: the template opens an answer for serving by what it does not write in a conversation, so
    that the border between prompt and answer is elsewhere."""
    opened = "{% if add_generation_prompt %}<think>{% endif %}"
    special = SpecialTokens(eos="<|im_end|>")
    tokenizer = Tokenizer(byte_tokenizer().json, special, template=CONTENTS + opened)
    taught = unless_refused(GuardError, lambda: Renderer(tokenizer).example_ids(USER, "answer"))
    said = "answer" if taught is None else tokenizer.decode(taught[1])
    yield f"{said!r} is learned of 'answer'" if said != "answer" else None


def no_look_at_the_prompt(patch: Patch) -> None:
    def behind(self: Renderer, prompt: str, whole: str) -> Any:
        return self._ids(prompt), [*self._ids(whole)[len(self._ids(prompt)) :], self._end_id()]

    patch.setattr(Renderer, "_example", behind)


def packed_rows_see_each_other(folder: Path, patch: Patch) -> Ways:
    """9: the loss of packed rows is another than that of each alone."""
    model = build(checkpoint_of(their_llama()))
    rows = examples_of(7, count=4)
    together = float(loop.loss_of(model, rows, clm.loss).total)
    alone = sum(float(loop.loss_of(model, [row], clm.loss).total) for row in rows)
    same = together == pytest.approx(alone, rel=1e-5)
    yield None if same else f"loss {together:.4f} packed, {alone:.4f} alone"


def one_long_row(patch: Patch) -> None:
    def joined(rows: Sequence[Example]) -> Any:
        ids: tuple[int, ...] = ()
        at: tuple[int, ...] = ()
        for row in rows:
            at, ids = (*at, *(len(ids) + place for place in row.at)), (*ids, *row.ids)
        labels = tuple(label for row in rows for label in row.labels)
        weights = tuple(row.weight for row in rows for _ in row.labels)
        return replace(pack([Example(ids, at, labels)]), weights=np.array(weights, np.float32))

    patch.setattr(loop, "pack", joined)


def accumulation_changes_the_loss(folder: Path, patch: Patch) -> Ways:
    """17: an update cut into packs has another loss, and another gradient."""
    checkpoint = checkpoint_of(their_llama())
    rows, found = examples_of(7, count=6), []
    for parts in (1, 4):
        model = build(checkpoint)
        attached("lora", model, checkpoint)
        plan = loop.Plan(Schedule.tuning(1, 1e-3), micro_batches=parts)
        mean = loop._gradients(model, rows, clm.loss, plan)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found.append((mean, torch.cat([grad.flatten() for grad in grads])))
    (whole, all_at_once), (cut, in_parts) = found
    same = whole == pytest.approx(cut, rel=1e-6)
    yield None if same else f"loss {cut:.4f} instead of {whole:.4f}"
    apart = float((all_at_once - in_parts).abs().max())
    yield None if apart < 1e-6 else f"a gradient that is {apart:.2g} away"


def mean_of_means(patch: Patch) -> None:
    def gradients(
        model: Any, rows: Sequence[Example], loss: Any, plan: loop.Plan, scale: float = 1.0
    ) -> float:
        parts = loop._split(rows, plan.micro_batches)
        mean = 0.0
        for part in parts:
            found = loop.loss_of(model, part, loss)
            (found.total / found.count / len(parts)).backward()
            mean += float(found.total.detach()) / found.count / len(parts)
        return mean

    patch.setattr(loop, "_gradients", gradients)


def what_is_too_long_is_cut(folder: Path, patch: Patch) -> Ways:
    """30: less of a row is learned, or of a prompt read, than there is, and nobody is told."""
    rows = rows_of(3)
    rows[1] = replace(rows[1], completion="x" * 5000)
    run = prepare.prepare(SOURCE, rows, config(), **WHERE)
    cut = [row.trained for row in run.examples if row.name == rows[1].id]
    yield f"{cut} tokens are learned of 5000 and an end" if cut else None
    told = [one["where"] for one in run.set_aside]
    yield None if told == [rows[1].where] else "the row is not named"
    lm = LocalLM.open(SOURCE, **WHERE)
    prompt = (Message("user", "x" * 5000),)
    done = unless_refused(RequestError, lambda: complete(lm, [Request(prompt, max_new_tokens=1)]))
    there = lm.count_tokens(prompt)
    yield f"{done[0].prompt_tokens} tokens are read of {there}" if done else None


def all_is_cut(patch: Patch) -> None:
    """To what fits, as others do."""
    written, context = examples._rendered, 100

    def short(rows: Any, renderer: Renderer) -> Iterator[Any]:
        for result in written(rows, renderer):
            yield (result[0], result[1][:context]) if isinstance(result, tuple) else result

    whole = LocalLM._prompts

    def ends(self: LocalLM, prompts: Any) -> Any:
        return [ids[-context:] for ids in whole(self, prompts)]

    patch.setattr(examples, "_rendered", short)
    patch.setattr(LocalLM, "_prompts", ends)
    patch.setattr(room, "behind", lambda index, reading, used, wanted, **how: wanted)


GUARDS = [
    Guard(5, the_end_is_not_learned, no_end),
    Guard(6, the_start_token_stands_twice, always_a_start),
    Guard(7, nothing_is_learned, no_look_at_what_is_taught),
    Guard(8, the_template_writes_the_answer_otherwise, no_look_at_the_prompt),
    Guard(9, packed_rows_see_each_other, one_long_row),
    Guard(17, accumulation_changes_the_loss, mean_of_means),
    Guard(30, what_is_too_long_is_cut, all_is_cut),
]
