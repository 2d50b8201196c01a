"""Every head on every family, learned and opened again; by every method, killed and resumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit.heads.rows import MAKERS, rows_of, tuned
from tutelage.backends.headed import HeadLM
from tutelage.backends.open import open_lm
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.errors import TutelageError
from tutelage.evaluate.tasks import evaluate_rows
from tutelage.heads import HEADS
from tutelage.models.headed import SUFFIXES, head_of
from tutelage.peft import METHODS, _head
from tutelage.score import METRICS
from tutelage.train.config import TuneConfig
from tutelage.train.loop import loss_of
from tutelage.train.prepare import prepare, working

SOURCES = ["preset:llama-tiny", "preset:bert-tiny", "preset:t5-tiny", "preset:roberta-tiny"]
WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
VIRTUAL = ("prompt-tuning", "p-tuning", "prefix-tuning")

UNITS = {
    "classification": "nats per row",
    "regression": "squared error",
    "token-classification": "nats per word",
    "multiple-choice": "nats per question",
    "question-answering": "nats per row",
}


def test_every_head_has_a_class_of_theirs_and_rows_here() -> None:
    assert sorted(HEADS.names()) == sorted(SUFFIXES) == sorted(MAKERS)
    for name in HEADS.names():
        assert HEADS.get(name).name == name
        assert all(METRICS.get(metric) for metric in HEADS.get(name).metrics)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("head", HEADS.names())
def test_a_head_learns_its_rows_and_answers(head: str, source: str, tmp_path: Path) -> None:
    rate = 3e-3
    found = tuned(
        head, tmp_path, source, method="full", steps=40, learning_rate=rate, batch_tokens=600
    )
    assert found["loss"]["last"] < 0.7 * found["loss"]["first"]
    assert found["loss_unit"] == UNITS[head]
    lm = open_lm(str(tmp_path / "out"), **WHERE)
    assert isinstance(lm, HeadLM)
    assert head_of(folder_checkpoint(tmp_path / "out").config) == head
    rows = rows_of(head, tmp_path)
    metrics = lm.capabilities().metrics
    measured = evaluate_rows(lm, rows, (), metrics, max_new_tokens=8)
    assert measured.valid and measured.refused == 0
    for name in metrics:
        assert measured.measured[name]["value"] > 0.9, name


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_trains_a_head_too(name: str, tmp_path: Path) -> None:
    source = "preset:llama-tiny"
    found = tuned("classification", tmp_path / "a", source, method=name, steps=4)
    assert found["status"] == "done"
    adapter = METHODS.get(name).adapter
    out = tmp_path / "a" / "out"
    lm = open_lm(source, adapter=out, **WHERE) if adapter else open_lm(str(out), **WHERE)
    rows = rows_of("classification", tmp_path)
    evaluation = evaluate_rows(lm, rows, (), ["accuracy"], max_new_tokens=8)
    assert evaluation.valid and {a.text for a in evaluation.answers} <= {"good", "bad"}
    if adapter:
        (file,) = out.glob("*.safetensors")
        above = "base_model" if name in VIRTUAL else "base_model.model"
        score = load_file(file)[f"{above}.score.weight"]
        assert score.shape == (2, 64)
    _stopped_and_gone_on(name, tmp_path, out)


@pytest.mark.parametrize("name", VIRTUAL)
@pytest.mark.parametrize("head", HEADS.names())
def test_virtual_tokens_of_an_encoder_decoder_with_a_head(
    head: str, name: str, tmp_path: Path
) -> None:
    """Also where the head has the encoder alone, as that of tags has."""
    source = "preset:bart-tiny" if head == "question-answering" else "preset:t5-tiny"
    found = tuned(
        head, tmp_path, source, method=name, steps=30, learning_rate=0.05, batch_tokens=600
    )
    assert found["loss"]["last"] < found["loss"]["first"]
    lm = open_lm(source, adapter=tmp_path / "out", **WHERE)
    assert isinstance(lm, HeadLM)
    rows, metrics = rows_of(head, tmp_path), lm.capabilities().metrics
    measured = evaluate_rows(lm, rows, (), metrics, max_new_tokens=8)
    assert measured.valid and measured.refused == 0


@pytest.mark.parametrize("name", VIRTUAL)
@pytest.mark.parametrize("head", HEADS.names())
def test_virtual_tokens_reach_every_head_of_an_encoder(
    head: str, name: str, tmp_path: Path
) -> None:
    """They are read with texts and with pairs of texts alike, and learn."""
    run = prepare("preset:bert-tiny", list(rows_of(head, tmp_path)), TuneConfig(
        method=name, head=head, steps=1, batch_tokens=4000), **WHERE)  # fmt: skip
    model, work = working(run)
    loss_of(model, run.examples, run.loss).total.backward()
    heads = {weight.path for weight in _head.trained(run.weights)}
    own = [p for path, p in work.parameters.items() if path not in heads]
    assert own and all(p.grad is not None and p.grad.abs().max() > 0 for p in own)


def _stopped_and_gone_on(name: str, tmp_path: Path, whole: Path) -> None:
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) == 2

    stopped = tuned("classification", tmp_path / "b", method=name, steps=4, deadline=after_two)
    assert stopped["status"] == "stopped" and stopped["steps"] == 2
    tuned("classification", tmp_path / "b", method=name, steps=4)
    (one,), (other,) = (f.glob("*.safetensors") for f in (whole, tmp_path / "b" / "out"))
    first, second = load_file(one), load_file(other)
    assert list(first) == list(second)
    assert all(torch.equal(value, second[path]) for path, value in first.items())


@pytest.mark.parametrize("head", HEADS.names())
def test_an_adapter_brings_its_head(head: str, tmp_path: Path) -> None:
    """The head of the adapter, not the base's random one, and the counts are the built ones."""
    found = tuned(head, tmp_path, steps=20, learning_rate=1e-2)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert found["trained_parameters"] == sum(value.numel() for value in tensors.values())
    lm = open_lm("preset:llama-tiny", adapter=tmp_path / "out", **WHERE)
    assert isinstance(lm, HeadLM) and lm.model.task is not None
    stored = next(v for k, v in tensors.items() if k.endswith(("score.weight", "outputs.weight")))
    assert torch.equal(lm.model.task.out.weight, stored)


def test_a_headed_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    tuned("classification", tmp_path)
    with pytest.raises(TutelageError, match="made on"):
        open_lm("preset:llama-tiny", adapter=tmp_path / "out", seed=5, **WHERE)


def test_likelihoods_sum_to_one_and_score_agrees(tmp_path: Path) -> None:
    tuned("classification", tmp_path, steps=20, learning_rate=1e-2)
    lm = open_lm("preset:llama-tiny", adapter=tmp_path / "out", **WHERE)
    assert isinstance(lm, HeadLM)
    (reply,) = lm.replies(["the soup is fine"])
    assert sum(reply.likely.values()) == pytest.approx(1)
    (good, bad) = lm.score([("the soup is fine", "good"), ("the soup is fine", "bad")])
    assert good.greedy == (reply.text == "good") and good.greedy != bad.greedy
    assert good.log_probability == pytest.approx(math.log(reply.likely["good"]), abs=1e-4)
    with pytest.raises(TutelageError, match="cannot give"):
        lm.score([("the soup is fine", "so-so")])
