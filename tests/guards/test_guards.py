"""Each pain of tuning has a guard, and its scenario fails where the guard is switched off.

A guard that could be taken out without any test failing guards nothing: every entry here says what
holds (`scenario`) and how to take its guard out (`off`).
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.guards import scenarios
from tutelage.cli import model_adapters
from tutelage.data.pack import Example, pack
from tutelage.peft import _new_rows, layout
from tutelage.text.render import Renderer
from tutelage.train import examples, loop, prepare, rehearsal, state

Patch = pytest.MonkeyPatch
TUNING = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 30}
"""Of the first twenty and the thirtieth all but 3 (engines of reinforcement learning) and 15 (the
export to GGUF)."""


@dataclass(frozen=True)
class Guard:
    pain: int
    scenario: Callable[[Path, Patch], None]
    off: Callable[[Patch], None]


def no_save(patch: Patch) -> None:
    patch.setattr(rehearsal, "_save", lambda *given: 1)


def no_hint(patch: Patch) -> None:
    patch.setattr(prepare, "is_exhausted", lambda error: False)


def no_base_check(patch: Patch) -> None:
    patch.setattr(layout, "refuse_other_base", lambda folder, base: None)


def no_end(patch: Patch) -> None:
    written = Renderer._example

    def cut(self: Renderer, prompt: str, whole: str) -> Any:
        ids, trained = written(self, prompt, whole)
        return ids, [one for one in trained if one not in self.tokenizer.eos_ids]

    patch.setattr(Renderer, "_example", cut)


def always_a_start(patch: Patch) -> None:
    def raw(self: Renderer, text: str, plain_end: str = "") -> list[int]:
        return [*self.tokenizer.prefix, *self.tokenizer.encode(text)]

    patch.setattr(Renderer, "_raw_ids", raw)


def no_look_at_gradients(patch: Patch) -> None:
    patch.setattr(loop, "_refuse_dead_gradient", lambda norm, rows: None)


def no_look_at_the_prompt(patch: Patch) -> None:
    def behind(self: Renderer, prompt: str, whole: str) -> Any:
        return self._ids(prompt), [*self._ids(whole)[len(self._ids(prompt)) :], self._end_id()]

    patch.setattr(Renderer, "_example", behind)


def one_long_row(patch: Patch) -> None:
    def joined(rows: Sequence[Example]) -> Any:
        ids: tuple[int, ...] = ()
        at: tuple[int, ...] = ()
        for row in rows:
            at, ids = (*at, *(len(ids) + place for place in row.at)), (*ids, *row.ids)
        labels = tuple(label for row in rows for label in row.labels)
        return pack([Example(ids, at, labels)])

    patch.setattr(loop, "pack", joined)


def no_moments(patch: Patch) -> None:
    patch.setattr(state, "restore_optimizer", lambda *given: None)


def any_order(patch: Patch) -> None:
    fresh = random.SystemRandom
    patch.setattr(examples.random, "Random", lambda seed: fresh())


def one_flat_tensor(patch: Patch) -> None:
    write = state.write_tensors

    def flat(tensors: Any, path: Path) -> None:
        write({"rank0": torch.cat([value.flatten().float() for value in tensors.values()])}, path)

    patch.setattr(state, "write_tensors", flat)


def no_bound(patch: Patch) -> None:
    patch.setattr(model_adapters, "FARTHEST", float("inf"))


def no_rows(patch: Patch) -> None:
    patch.setattr(_new_rows, "read", lambda *given: None)


def mean_of_means(patch: Patch) -> None:
    def gradients(model: Any, rows: Sequence[Example], loss: Any, plan: loop.Plan) -> float:
        parts = loop._split(rows, plan.micro_batches)
        mean = 0.0
        for part in parts:
            found = loop.loss_of(model, part, loss)
            (found.total / found.count / len(parts)).backward()
            mean += float(found.total.detach()) / found.count / len(parts)
        return mean

    patch.setattr(loop, "_gradients", gradients)


def unknown_is_dropped(patch: Patch) -> None:
    strict = prepare.settings_of

    def lenient(method: Any, given: Any) -> Any:
        known = method.settings.model_fields
        return strict(method, {name: value for name, value in given.items() if name in known})

    patch.setattr(prepare, "settings_of", lenient)


def any_version(patch: Patch) -> None:
    whole = prepare.Run.digest.fget
    assert whole is not None
    patch.setattr(prepare.Run, "digest", property(lambda run: whole(run).partition(":")[0]))


def the_library_is_taken_for_granted(patch: Patch) -> None:
    for name in ("norm", "rope", "mlp", "packed", "cache"):
        module = importlib.import_module(f"tutelage.nn.{name}")
        if hasattr(module, "computes"):
            patch.setattr(module, "computes", lambda x: True)


def rows_are_cut(patch: Patch) -> None:
    written = examples._rendered

    def cut(rows: Any, renderer: Renderer) -> Any:
        for result in written(rows, renderer):
            yield (result[0], result[1][:100]) if isinstance(result, tuple) else result

    patch.setattr(examples, "_rendered", cut)


GUARDS = [
    Guard(1, scenarios.the_disk_is_full_when_it_is_saved, no_save),
    Guard(2, scenarios.memory_runs_out, no_hint),
    Guard(4, scenarios.the_template_is_another, no_base_check),
    Guard(5, scenarios.the_end_is_not_learned, no_end),
    Guard(6, scenarios.the_start_token_stands_twice, always_a_start),
    Guard(7, scenarios.nothing_is_trained, no_look_at_gradients),
    Guard(8, scenarios.the_template_writes_the_answer_otherwise, no_look_at_the_prompt),
    Guard(9, scenarios.packed_rows_see_each_other, one_long_row),
    Guard(10, scenarios.a_resumed_run_forgets_its_moments, no_moments),
    Guard(11, scenarios.rows_come_in_another_order, any_order),
    Guard(12, scenarios.a_checkpoint_is_tied_to_its_process, one_flat_tensor),
    Guard(13, scenarios.an_adapter_is_merged_into_another_base, no_base_check),
    Guard(14, scenarios.merging_changes_the_answers, no_bound),
    Guard(16, scenarios.new_tokens_are_lost, no_rows),
    Guard(17, scenarios.accumulation_changes_the_loss, mean_of_means),
    Guard(18, scenarios.an_option_is_ignored, unknown_is_dropped),
    Guard(19, scenarios.another_version_goes_on, any_version),
    Guard(20, scenarios.a_kernel_is_needed, the_library_is_taken_for_granted),
    Guard(30, scenarios.a_row_is_cut, rows_are_cut),
]
EACH = pytest.mark.parametrize("guard", GUARDS, ids=lambda g: f"{g.pain}-{g.scenario.__name__}")


@EACH
def test_it_does_not_happen(guard: Guard, tmp_path: Path, monkeypatch: Patch) -> None:
    guard.scenario(tmp_path, monkeypatch)


@EACH
def test_without_its_guard_it_would(guard: Guard, tmp_path: Path, monkeypatch: Patch) -> None:
    with monkeypatch.context() as off:
        guard.off(off)
        with pytest.raises(BaseException) as happened:  # whatever fails, fails
            guard.scenario(tmp_path, monkeypatch)
    assert not isinstance(happened.value, KeyboardInterrupt | SystemExit)


def test_every_pain_of_tuning_has_a_guard() -> None:
    assert {guard.pain for guard in GUARDS} == TUNING
