"""Tuning an encoder-decoder: what is learned, that it is opened elsewhere, and that it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.unit.train.rows import After, config, rows_of, weights_of
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.data.pack import Example
from tutelage.data.rows import Row
from tutelage.errors import ConfigError, UnknownName
from tutelage.lm import Message, Request, complete
from tutelage.train.examples import examples_of
from tutelage.train.prepare import predict, prepare
from tutelage.train.tune import tune

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
SETTINGS = {"batch_tokens": 200, "steps": 6}


def tuned(out: Path, source: str = "preset:flan-t5-tiny", **changes: Any) -> dict[str, Any]:
    deadline = changes.pop("deadline", None)
    settings = config(**{**SETTINGS, **changes})
    return tune(source, rows_of(), settings, out, deadline=deadline, **WHERE)


def test_rows_become_source_and_target() -> None:
    reading = Reading.of(open_checkpoint("preset:t5-tiny"))
    examples, aside = examples_of(rows_of(3), reading)
    assert aside == []
    spelled = reading.renderer.tokenizer.encode_plain
    for row, found in zip(rows_of(3), examples, strict=True):
        target = [*spelled(row.completion or ""), 1]
        source = [*spelled(row.messages[0].content), 1]
        assert found == Example.pair(source, target, 0, name=row.id)


def test_source_and_target_are_limited_each_by_itself() -> None:
    def row(prompt: int, completion: int) -> Row:
        turns = (Message("user", "x" * prompt),)
        return replace(rows_of(1)[0], messages=turns, completion="y" * completion)

    bart = Reading.of(open_checkpoint("preset:bart-tiny"))
    rows = [row(511, 511), row(512, 1), row(1, 512)]
    examples, aside = examples_of(rows, bart)
    assert [(len(one.memory), one.trained) for one in examples] == [(512, 512)]
    assert [one["reason"] for one in aside] == ["too-long", "too-long"]
    assert len(examples_of(rows, Reading.of(open_checkpoint("preset:t5-tiny")))[0]) == 3


RATES = {
    "lora": 3e-3, "full": 3e-3, "prompt-tuning": 0.3, "p-tuning": 0.03, "prefix-tuning": 0.3,
}  # fmt: skip


# Before BART's small random weights no virtual token has much to say.
LEARNS = [(name, one) for name in ("flan-t5-tiny", "transformer-tiny") for one in RATES]
LEARNS += [("bart-tiny", "lora"), ("bart-tiny", "full")]


@pytest.mark.parametrize(("name", "method"), LEARNS)
def test_a_run_learns_and_is_opened(method: str, name: str, tmp_path: Path) -> None:
    out, source = tmp_path / "out", f"preset:{name}"
    result = tuned(out, source, method=method, steps=30, learning_rate=RATES[method])
    assert result["loss"]["last"] < result["loss"]["first"] - 0.3
    lm = (
        LocalLM.open(str(out), **WHERE)
        if method == "full"
        else LocalLM.open(source, adapter=out, **WHERE)
    )
    plain = LocalLM.open(source, **WHERE)
    pairs = [(row.messages, row.completion or "") for row in rows_of()]
    after, before = (sum(s.log_probability for s in one.score(pairs)) for one in (lm, plain))
    assert after > before + 10


def test_a_full_result_is_transformers_model(tmp_path: Path) -> None:
    """From the folder alone their loss of a row is what ours scores it with."""
    tuned(tmp_path / "out", "preset:t5-tiny", method="full")
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    lm = LocalLM.open(str(tmp_path / "out"), **WHERE)
    read = tokenizer("Backwards: red", return_tensors="pt")
    labels = tokenizer("der", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = theirs(**read, labels=labels).logits[0, :-1]
    values = torch.log_softmax(logits, -1).gather(1, labels[0, :-1, None])
    (score,) = lm.score([((Message("user", "Backwards: red"),), "der")])
    assert score.log_probability == pytest.approx(float(values.sum()), abs=1e-4)


@pytest.mark.parametrize("method", RATES)
def test_stopped_and_gone_on_is_bitwise_undisturbed(method: str, tmp_path: Path) -> None:
    tuned(tmp_path / "whole", method=method)
    stopped = tuned(tmp_path / "out", method=method, deadline=After(3))
    assert stopped["status"] == "stopped"
    assert tuned(tmp_path / "out", method=method)["status"] == "done"
    assert weights_of(tmp_path / "out") == weights_of(tmp_path / "whole")


@pytest.mark.parametrize("method", RATES)
def test_cut_into_packs_and_computed_twice_is_the_same(method: str, tmp_path: Path) -> None:
    losses = []
    for name, more in (
        ("one", {}),
        ("four", {"micro_batches": 4}),
        ("twice", {"checkpointing": True}),
    ):
        result = tuned(tmp_path / name, method=method, **more)
        losses.append([point["loss"] for point in result["curve"]])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)


def test_what_a_run_takes_is_foreseen(tmp_path: Path) -> None:
    """An estimate from the sizes of both stacks: no part is missing, and time grows with rows."""
    run = prepare("preset:t5-small", rows_of(), config(**SETTINGS), **WHERE)
    found = predict(run)
    assert {"weights", "adapter", "activations", "optimizer", "logits"} <= set(found.memory)
    assert found.memory["weights"] >= 4 * 60_506_624 and found.seconds > 0
    more = predict(
        prepare("preset:t5-small", rows_of(), config(batch_tokens=200, steps=12), **WHERE)
    )
    assert more.seconds == pytest.approx(2 * found.seconds, rel=0.2)


def test_cross_attention_is_a_role_of_its_own(tmp_path: Path) -> None:
    run = prepare(
        "preset:t5-tiny", rows_of(), config(options={"roles": ("cross.q", "cross.v")}), **WHERE
    )
    assert run.method.count(run.weights, run.settings) == 2 * 2 * 16 * (64 + 64)
    with pytest.raises((UnknownName, ConfigError)):
        prepare("preset:llama-tiny", rows_of(), config(options={"roles": ("cross.q",)}), **WHERE)


def test_an_adapter_of_the_answer_changes_the_answer(tmp_path: Path) -> None:
    tuned(tmp_path / "out", steps=60, learning_rate=0.01, batch_tokens=2000)
    lm = LocalLM.open("preset:flan-t5-tiny", adapter=tmp_path / "out", **WHERE)
    requests = [Request(row.messages, 8) for row in rows_of()]
    said = [one.text for one in complete(lm, requests)]
    right = [one == row.completion for one, row in zip(said, rows_of(), strict=True)]
    assert sum(right) >= 8, said
