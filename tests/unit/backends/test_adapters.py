"""One base with several adapters: each name answers as if it were alone."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.serve.serving import SECONDS, eventually
from tests.unit.train.rows import SOURCE, config, tuned
from tutelage.backends.adapters import with_adapters
from tutelage.backends.local import LocalLM
from tutelage.errors import SourceError
from tutelage.generate.loop import Loop
from tutelage.generate.step import Stepper
from tutelage.kernels.library import library
from tutelage.lm import Completion, Request, complete
from tutelage.peft.switch import Switch

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
METHODS = {
    "low": ("lora", {"rank": 4}, 0.05),
    "gains": ("ia3", {}, 0.5),
    "before": ("prefix-tuning", {"tokens": 5}, 0.3),
    "beside": ("adapter", {"rank": 8}, 0.05),
    "own": ("bitfit", {}, 0.3),
}
PROMPTS = ["Backwards: red", "a tree is", "Backwards: teal"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    for name, (method, options, rate) in METHODS.items():
        tuned(root / name, config(method=method, options=options, learning_rate=rate))
    return {name: root / name for name in METHODS}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str | None, Any]:
    return with_adapters(SOURCE, folders, **WHERE)


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path]) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {None: texts(LocalLM.open(SOURCE, **WHERE))}
    for name, folder in folders.items():
        found[name] = texts(LocalLM.open(SOURCE, adapter=folder, **WHERE))
    return found


def asked(lm: Any) -> Iterator[Any]:
    events: Iterator[Any] = lm.generate([Request(prompt, 10) for prompt in PROMPTS])
    return events


def texts(lm: Any) -> list[str]:
    done = {e.index: e.text for e in asked(lm) if isinstance(e, Completion)}
    return [done[place] for place in sorted(done)]


def test_each_answers_as_if_it_were_alone(
    models: dict[str | None, Any], alone: dict[str | None, list[str]]
) -> None:
    pair = [("Backwards: red", " tree")]
    scores = {lm.score(pair)[0].log_probability for lm in models.values()}
    assert len(scores) == len(models), "they differ"
    for name in (*METHODS, None, *reversed(METHODS), None):
        assert texts(models[name]) == alone[name]


def test_answers_read_in_turn_do_not_disturb_each_other(
    models: dict[str | None, Any], alone: dict[str | None, list[str]]
) -> None:
    streams = {name: asked(lm) for name, lm in models.items()}
    done: dict[str | None, dict[int, str]] = {name: {} for name in models}
    while streams:
        for name in list(streams):
            event = next(streams[name], None)
            if event is None:
                del streams[name]
            elif isinstance(event, Completion):
                done[name][event.index] = event.text
    assert {name: [d[i] for i in sorted(d)] for name, d in done.items()} == alone


def test_scores_are_those_of_the_adapter(
    models: dict[str | None, Any], folders: dict[str, Path]
) -> None:
    pairs = [(prompt, " tree") for prompt in PROMPTS]
    for name in ("before", None, "low"):
        folder = None if name is None else folders[name]
        own = LocalLM.open(SOURCE, adapter=folder, **WHERE).score(pairs)
        for a, b in zip(models[name].score(pairs), own, strict=True):
            assert a.log_probability == pytest.approx(b.log_probability, abs=1e-4)
        assert models[name].count_tokens("abc") == 3


def test_the_base_is_in_memory_once_and_stays_as_it_was(
    models: dict[str | None, Any], folders: dict[str, Path]
) -> None:
    shared = {id(lm.model) for lm in models.values()}
    assert len(shared) == 1
    models["own"].count_tokens("x")
    texts(models[None])
    plain = LocalLM.open(SOURCE, **WHERE).model
    used = models[None].model
    assert {type(m) for m in used.modules()} == {type(m) for m in plain.modules()}
    own = dict(used.named_parameters())
    for name, value in plain.named_parameters():
        assert torch.equal(own.pop(name), value)
    assert not own


@pytest.mark.skipif(library() is None, reason="the library was not built")
def test_the_kernel_says_what_pytorch_says(
    models: dict[str | None, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a LoRA adapter beside its base, whose steps it takes."""
    taken: list[int] = []
    step = Stepper.step

    def counted(stepper: Stepper, cache: Any, slots: Any, *more: Any) -> Any:
        taken.append(len(slots))
        return step(stepper, cache, slots, *more)

    monkeypatch.setattr(Stepper, "step", counted)
    by_kernel = tokens(models["low"])
    assert taken
    taken.clear()
    monkeypatch.setattr(Stepper, "of", lambda model: None)
    assert tokens(models["low"]) == by_kernel and not taken


@pytest.mark.parametrize("exact", [False, True])
def test_rows_of_several_adapters_take_steps_together(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    """Callers in threads of their own: each is answered as if alone, and no step is taken once for
    each adapter."""
    if exact and library() is None:
        pytest.skip("in exact PyTorch computes each row by itself")
    low = {"low": folders["low"]}
    for name, options in (
        ("wide", {"rank": 8}),
        ("narrow", {"rank": 2, "roles": ("attn.v", "mlp.down")}),
    ):
        tuned(tmp_path / name, config(method="lora", options=options, learning_rate=0.1))
        low[name] = tmp_path / name
    models = with_adapters(SOURCE, low, **WHERE, exact=exact)
    expected = {name: tokens(lm) for name, lm in models.items()}
    assert len(set(expected.values())) == len(models), "they differ"
    mixed: list[set[str | None]] = []
    mix = Switch.mix

    def watched(switch: Switch, names: Sequence[str | None]) -> bool:
        mixed.append({*names})
        return mix(switch, names)

    monkeypatch.setattr(models[None].engine, "_mix", functools.partial(watched, switch_of(models)))
    models[None].share(100_000_000)
    loop = models[None].engine.loop
    assert loop is not None
    with ThreadPoolExecutor(len(models)) as pool, held(loop) as waiting:
        callers = [pool.submit(tokens, lm) for lm in models.values()]
        eventually(lambda: waiting() == len(models))
    found = dict(zip(models, (caller.result() for caller in callers), strict=True))
    assert found == expected
    assert any(len(names) > 1 for names in mixed)
    loop.close()


@contextlib.contextmanager
def held(loop: Loop) -> Iterator[Callable[[], int]]:
    """No step is taken in this block, and so whoever asks in it is answered beside the others; the
    value says how many have asked."""
    standing, done = threading.Event(), threading.Event()

    def stand() -> bool:
        standing.set()
        return done.wait(SECONDS)

    with ThreadPoolExecutor(1) as pool:
        stood = pool.submit(loop.call, stand)
        assert standing.wait(SECONDS)
        try:
            yield lambda: len(loop._arrived)
        finally:
            done.set()
        assert stood.result()


def tokens(lm: LocalLM) -> tuple[tuple[int, ...], ...]:
    """Of answers that do not end early."""
    asked = [Request(prompt, 10, min_new_tokens=10) for prompt in PROMPTS]
    return tuple(done.tokens for done in complete(lm, asked))


def switch_of(models: dict[str | None, LocalLM]) -> Switch:
    """The one behind all of them."""
    switch = getattr(models[None].engine._use, "__self__", None)
    assert isinstance(switch, Switch)
    return switch


def test_an_adapter_of_a_quantized_base_is_refused(tmp_path: Path) -> None:
    tuned(tmp_path / "q", config(method="qlora"))
    with pytest.raises(SourceError, match="cannot share it") as caught:
        with_adapters(SOURCE, {"q": tmp_path / "q"}, **WHERE)
    assert caught.value.field == "--adapter" and "merge" in str(caught.value.hint)
