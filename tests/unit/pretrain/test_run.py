"""A whole pretraining run in small: what it writes, that it goes on, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading
from tutelage.config import validate
from tutelage.errors import ConfigError, DamagedError, DataError, RequestError, TutelageError
from tutelage.lm import Request, complete
from tutelage.pretrain.config import PretrainConfig, TokenizerTable
from tutelage.pretrain.run import pretrain
from tutelage.progress import Progress

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "far", "away")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Sentences of a small grammar, one document a line."""
    generator = torch.Generator().manual_seed(0)
    lines = []
    for _ in range(300):
        picks = torch.randint(len(WORDS), (24,), generator=generator).tolist()
        lines.append(" ".join(WORDS[i] + " " + WORDS[(i * 5 + 1) % len(WORDS)] for i in picks))
    file = tmp_path / "text.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def described(text: Path, **training: Any) -> PretrainConfig:
    asked: dict[str, Any] = {
        "model": {"depth": 1, "context": 32},
        "tokenizer": {"vocabulary": 300},
        "data": {"train": {"text": str(text)}, "unit": "line"},
        "training": {"steps": 12, "batch_tokens": 128, "learning_rate": 5e-3, **training},
    }
    return validate(PretrainConfig, asked)


def run(config: PretrainConfig, out: Path, **more: Any) -> dict[str, Any]:
    return pretrain(config, out, device="cpu", dtype="fp32", threads=1, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model = build(open_checkpoint(str(folder / "model")))
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_run_learns_and_says_what_it_did(text: Path, tmp_path: Path) -> None:
    record = run(described(text, steps=60, samples=("the cat",)), tmp_path / "out")
    json.dumps(record, allow_nan=False)
    assert record["status"] == "done" and record["steps"] == 60
    assert record["tokens"] == 60 * 128
    assert record["loss"]["last"] < record["loss"]["first"] - 1
    bits = record["bits_per_byte"]["text"]
    assert bits["n"] == 20 and bits["low"] < bits["value"] < bits["high"] < 3
    assert 0 <= record["waiting_share"] < 1 and record["mfu"] > 0
    lines = (tmp_path / "out" / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(6, 61, 6))
    built = weights(tmp_path / "out")
    assert sum(value.numel() for value in built.values()) == record["parameters"]
    assert run(described(text, steps=60, samples=("the cat",)), tmp_path / "out") == record


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_and_gone_on_is_bitwise_undisturbed(
    optimizer: str, text: Path, tmp_path: Path
) -> None:
    config = described(text, optimizer=optimizer, schedule="wsd", z_loss=1e-4)
    run(config, tmp_path / "whole")
    asked = iter([False, False, False, True])
    stopped = run(config, tmp_path / "cut", deadline=lambda: next(asked))
    assert stopped["status"] == "stopped" and stopped["steps"] == 4
    again = run(config, tmp_path / "cut")
    assert again["status"] == "done" and again["steps"] == 12
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_float16_goes_on_bitwise_with_its_scale(text: Path, tmp_path: Path) -> None:
    """From a scale that overflows, cut after it has fallen and before it has settled."""
    scaling = {"start": 2.0**36, "steps": 4}
    config = described(text, steps=40, dtype="fp16", loss_scale=scaling)
    whole = pretrain(config, tmp_path / "whole", device="cpu", threads=1)
    assert 0 < whole["skipped_steps"] < 30
    assert whole["loss_scale"]["skipped"] == whole["skipped_steps"]
    assert whole["loss"]["last"] < whole["loss"]["first"] - 0.5
    asked = iter([False, False, False, True])
    cut = pretrain(config, tmp_path / "cut", device="cpu", threads=1, deadline=lambda: next(asked))
    assert cut["skipped_steps"] == 4
    again = pretrain(config, tmp_path / "cut", device="cpu", threads=1)
    assert again["loss_scale"] == whole["loss_scale"]
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_number_format_is_said_once(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(described(text, dtype="fp16"), tmp_path / "out")
    assert caught.value.field == "--dtype" and "fp16" in caught.value.message
    plain = run(described(text, steps=2), tmp_path / "plain")
    assert plain["loss_scale"] is None and plain["skipped_steps"] == 0


class Cut(Exception):
    """What ends a run in these tests, as a kill would: without a word to it."""


def cut_at(what: str, step: int) -> Progress:
    """A progress that ends the run when so much of this is done."""

    def progress(said: str, done: int, total: int | None) -> None:
        if what in said and done >= step:
            raise Cut

    return progress


def test_a_run_gone_on_with_says_each_sample_once(text: Path, tmp_path: Path) -> None:
    """Steps since the last checkpoint are made again, and what was said at them is there already;
    a line half written is none."""
    config = described(text, samples=("the cat", "a dog"))
    run(config, tmp_path / "whole")
    with pytest.raises(Cut):
        run(config, tmp_path / "cut", progress=cut_at("step", 8))
    with (tmp_path / "cut" / "samples.jsonl").open("a") as file:
        file.write('{"step": 8, "te')
    run(config, tmp_path / "cut")
    whole, cut = ((tmp_path / name / "samples.jsonl").read_text() for name in ("whole", "cut"))
    assert len(whole.splitlines()) == 20 and cut == whole


def test_samples_of_another_request_do_not_stay(text: Path, tmp_path: Path) -> None:
    with pytest.raises(Cut):
        run(described(text, samples=("the",)), tmp_path / "out", progress=cut_at("step", 4))
    run(described(text, samples=("a",), steps=20), tmp_path / "out")
    lines = (tmp_path / "out" / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(2, 21, 2))


def test_a_tokenizer_learnt_for_another_run_is_not_taken(text: Path, tmp_path: Path) -> None:
    """Killed after it was learnt, and asked for again with another vocabulary."""
    asked = described(text)
    other = asked.model_copy(update={"tokenizer": TokenizerTable(vocabulary=320)})
    with pytest.raises(Cut):
        run(asked, tmp_path / "out", progress=cut_at("tokens", 1))
    with pytest.raises(RequestError, match="holds something else") as caught:
        run(other, tmp_path / "out")
    assert caught.value.field == "--out" and "tokenizer" in caught.value.message
    assert run(asked, tmp_path / "out")["status"] == "done"


def test_a_finished_run_is_cleared_of_checkpoints_and_checked(text: Path, tmp_path: Path) -> None:
    """As after a kill between its record and its clearing, and after a disk has lost a bit."""
    out = tmp_path / "out"
    record = run(described(text), out)
    (out / "state" / "step-00000011").mkdir(parents=True)
    assert run(described(text), out) == record
    assert not (out / "state").exists()
    file = out / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedError) as caught:
        run(described(text), out)
    assert caught.value.field == str(file)


def test_minutes_become_steps_once(text: Path, tmp_path: Path) -> None:
    config = described(text, steps=None, minutes=0.02)
    first = run(config, tmp_path / "out")
    assert first["steps"] == first["steps_total"] >= 1
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["steps"] == first["steps_total"]


def test_processor_minutes_become_steps(text: Path, tmp_path: Path) -> None:
    record = run(described(text, steps=None, processor_minutes=0.01), tmp_path / "out")
    assert 1 <= record["steps"] == record["steps_total"] < 500


def test_flops_are_a_length_and_are_counted(text: Path, tmp_path: Path) -> None:
    first = run(described(text), tmp_path / "first")
    assert first["processor_seconds"] > 0
    again = run(described(text, steps=None, flops=first["flops"] / 3), tmp_path / "again")
    assert again["steps"] == 4 and again["flops"] == first["flops"] / 3


def test_what_the_text_costs_without_a_model(text: Path, tmp_path: Path) -> None:
    """Every second word follows from the one before: a 5-gram sees it, gzip less."""
    config = described(text)
    changed = config.model_copy(update={"data": config.data.model_copy(update={"baselines": True})})
    record = run(changed, tmp_path / "out")
    found = record["baselines"]["text"]
    assert set(found) == {"gzip", "xz", "kneser-ney-5"}
    ideal = math.log2(len(WORDS)) / (sum(map(len, WORDS)) / len(WORDS) + 1) / 2
    assert ideal < found["kneser-ney-5"]["value"] < found["gzip"]["value"] < 3
    assert found["kneser-ney-5"]["n"] == record["bits_per_byte"]["text"]["n"]
    assert run(described(text), tmp_path / "plain")["baselines"] == {}
    stored = {"train": {"text": str(tmp_path / "out" / "data" / "text")}, "baselines": True}
    tokenizer = {"source": str(tmp_path / "out" / "tokenizer")}
    asked = validate(
        PretrainConfig, {**config.model_dump(), "data": stored, "tokenizer": tokenizer}
    )
    with pytest.raises(ConfigError) as caught:
        run(asked, tmp_path / "stored")
    assert caught.value.field == "data.baselines"


def test_another_request_does_not_touch_an_unfinished_run(text: Path, tmp_path: Path) -> None:
    """Without its plan a run that is to take minutes would end with another number of steps."""
    out, asked = tmp_path / "out", described(text, steps=None, minutes=0.2, samples=("the",))
    steps = iter(range(100))
    run(asked, out, deadline=lambda: next(steps) == 5)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with pytest.raises(RequestError, match="unfinished work of another request"):
        run(described(text, samples=("the",)), out)
    after = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert after == before


def test_held_out_documents_are_not_trained_on(text: Path, tmp_path: Path) -> None:
    run(described(text, steps=1), tmp_path / "out")
    rows = (tmp_path / "out" / "data" / "held-out.jsonl").read_text().splitlines()[1:]
    apart = set(json.loads(rows[0])["texts"])
    funnel = json.loads((tmp_path / "out" / "data" / "text" / "funnel.json").read_text())
    steps = funnel["commands"][0]["steps"]
    assert steps[1]["reasons"] == {"held-out": len(apart)}
    assert steps[1]["rows_out"] == 300 - len(apart)


def test_a_text_of_one_document_is_not_held_out_whole(text: Path, tmp_path: Path) -> None:
    asked = described(text).model_dump()
    asked["data"]["unit"] = "file"
    with pytest.raises(ConfigError) as caught:
        run(validate(PretrainConfig, asked), tmp_path / "none")
    assert caught.value.field == "data.train.text" and "data.unit" in (caught.value.hint or "")
    asked["data"]["held_out_share"] = 0
    record = run(validate(PretrainConfig, asked), tmp_path / "all")
    assert record["steps"] == 12 and record["bits_per_byte"] == {}


def test_going_on_from_a_model(text: Path, tmp_path: Path) -> None:
    run(described(text, steps=20), tmp_path / "first")
    asked = {
        "model": {"start": str(tmp_path / "first" / "model")},
        "data": {"train": {"text": str(text)}, "unit": "line"},
        "training": {"steps": 5, "batch_tokens": 128},
    }
    record = run(validate(PretrainConfig, asked), tmp_path / "second")
    first = json.loads((tmp_path / "first" / "record.json").read_text())
    assert record["loss"]["first"] < first["loss"]["first"] - 1


def going_on(text: Path, start: object, **training: Any) -> PretrainConfig:
    asked = {
        "model": {"start": str(start)},
        "data": {"train": {"text": str(text)}, "unit": "line"},
        "training": {"steps": 1, "batch_tokens": 128, "learning_rate": 1e-9, **training},
    }
    return validate(PretrainConfig, asked)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_warm_restart_goes_on_with_what_the_optimizer_remembered(
    optimizer: str, text: Path, tmp_path: Path
) -> None:
    """One update more at no learning rate: AdamW's m is b m + (1 - b) g and its count goes on, of
    Muon the momentum; a cold start's is (1 - b) g alone."""
    run(described(text, steps=6, optimizer=optimizer), tmp_path / "first")
    for warm in (False, True):
        asked = going_on(text, tmp_path / "first", optimizer=optimizer, warm_restart=warm)
        run(asked, tmp_path / str(warm))
    first, cold, warm_one = (
        load_file(tmp_path / name / "optimizer" / "optimizer.safetensors")
        for name in ("first", "False", "True")
    )
    assert first.keys() == cold.keys() == warm_one.keys()
    kinds = {name.rpartition(":")[2] for name in first}
    assert kinds == {"adamw": {"exp_avg", "exp_avg_sq", "step"}, "muon": kinds}[optimizer]
    assert ("momentum_buffer" in kinds) == (optimizer == "muon")
    share = {"exp_avg": 0.9, "exp_avg_sq": 0.95, "step": 1.0, "momentum_buffer": 0.95}
    for name, before in first.items():
        expected = share[name.rpartition(":")[2]] * before + cold[name]
        assert torch.allclose(warm_one[name], expected, rtol=1e-4, atol=1e-9), name
        assert before.abs().max() > 0


def test_a_warm_restart_stopped_and_gone_on_is_bitwise_undisturbed(
    text: Path, tmp_path: Path
) -> None:
    run(described(text, steps=3), tmp_path / "first")
    asked = going_on(text, tmp_path / "first", steps=4, learning_rate=1e-3, warm_restart=True)
    whole = run(asked, tmp_path / "whole")
    asks = iter([False, True])
    assert run(asked, tmp_path / "cut", deadline=lambda: next(asks))["status"] == "stopped"
    assert run(asked, tmp_path / "cut")["loss"] == whole["loss"]
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_warm_restart_of_nothing_is_refused(text: Path, tmp_path: Path) -> None:
    def refused(start: object, kind: type[TutelageError] = ConfigError, **training: Any) -> str:
        asked = going_on(text, start, warm_restart=True, **training)
        with pytest.raises(kind) as caught:
            run(asked, tmp_path / "out")
        return f"{caught.value.field} {caught.value.message}"

    first = tmp_path / "first"
    run(described(text, steps=2), first)
    assert "training.warm_restart there is no run" in refused("preset:llama-tiny")
    assert not (tmp_path / "out").exists(), "nothing is read before"
    assert "another optimizer" in refused(first, optimizer="muon")
    shutil.copytree(first / "model", tmp_path / "alone" / "model")
    assert "no optimizer was kept" in refused(tmp_path / "alone" / "model")
    shutil.copytree(first / "optimizer", tmp_path / "alone" / "optimizer")
    run(described(text, steps=3), tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "model", first / "model", dirs_exist_ok=True)
    assert "of another model" in refused(first)
    moments = tmp_path / "alone" / "optimizer" / "optimizer.safetensors"
    moments.write_bytes(moments.read_bytes()[:-4])
    assert str(moments) in refused(tmp_path / "alone" / "model", DamagedError)


def test_another_request_does_not_touch_a_finished_run(text: Path, tmp_path: Path) -> None:
    run(described(text, steps=1), tmp_path / "out")
    with pytest.raises(RequestError, match="holds another run"):
        run(described(text, steps=2), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"training": {"steps": 1, "minutes": 2}}, "training"),
        ({"training": {}}, "training"),
        ({"model": {"depth": 0}}, "model.depth"),
        ({"data": {"train": {}}}, "data.train"),
        ({"modle": {}}, "modle"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], field: str, text: Path) -> None:
    asked = {
        "model": {"depth": 1},
        "data": {"train": {"text": str(text)}},
        "training": {"steps": 1},
        **changes,
    }
    with pytest.raises(ConfigError) as caught:
        validate(PretrainConfig, asked)
    assert field in str(caught.value.field)


def test_a_shape_that_cannot_be_is_refused(text: Path, tmp_path: Path) -> None:
    config = described(text)
    for model in (
        {"depth": 1, "preset": "gpt2"},
        {},
        {"depth": 1, "architecture": "rnn"},
        {"width": 64},
    ):
        changed = validate(PretrainConfig, {**config.model_dump(), "model": model})
        with pytest.raises(TutelageError) as caught:
            run(changed, tmp_path / "out")
        assert str(caught.value.field).startswith("model")
    with pytest.raises(ConfigError) as caught:
        run(described(text, batch_tokens=31), tmp_path / "out")
    assert caught.value.field == "training.batch_tokens"
    with pytest.raises(DataError):
        run(described(tmp_path / "absent.txt"), tmp_path / "other")


@pytest.mark.parametrize(
    ("preset", "kind", "objective"),
    [
        ("bert-tiny", "wordpiece", "mlm"),
        ("t5-tiny", "unigram", "span"),
        ("bart-tiny", "wordpiece", "denoise"),
        ("gpt2-tiny", "bpe", "prefix"),
        ("mixtral-tiny", "bpe", "clm"),
    ],
)
def test_every_family_is_raised_by_its_objective(
    preset: str, kind: str, objective: str, text: Path, tmp_path: Path
) -> None:
    asked = {
        "model": {"preset": preset, "context": 48},
        "tokenizer": {"kind": kind, "vocabulary": 500},
        "data": {"train": {"text": str(text)}, "unit": "line"},
        "training": {
            "steps": 25, "batch_tokens": 192, "learning_rate": 5e-3, "objective": objective,
        },
    }  # fmt: skip
    record = run(validate(PretrainConfig, asked), tmp_path / "out")
    assert record["objective"] == objective
    assert record["loss"]["last"] < record["loss"]["first"] - 0.5
    measured = record["bits_per_byte"] or record["held_out_loss"]
    assert measured["text"]["low"] < measured["text"]["value"] < measured["text"]["high"]
    assert record["mfu"] > 0
    assert weights(tmp_path / "out")
    checkpoint = open_checkpoint(str(tmp_path / "out" / "model"))
    assert Reading.of(checkpoint).both == (objective == "prefix"), "asked as it was trained"


def test_a_prefix_model_says_what_it_learned_while_it_learns(text: Path, tmp_path: Path) -> None:
    """Its samples are read with a lead, as it will be asked; trained on causally it is none."""
    found = {}
    for objective in ("prefix", "clm"):
        config = described(text, steps=20, objective=objective, samples=("the cat sat on",))
        run(config, tmp_path / objective)
        lm = LocalLM.open(
            str(tmp_path / objective / "model"), device="cpu", dtype="fp32", threads=1
        )
        assert lm.reading.both == (objective == "prefix")
        (answer,) = complete(lm, [Request("the cat sat on", 40)])
        lines = (tmp_path / objective / "samples.jsonl").read_text().splitlines()
        found[objective] = json.loads(lines[-1])["text"]
        assert answer.text and found[objective].startswith("the cat sat on" + answer.text)
    again = {"model": {"start": str(tmp_path / "prefix" / "model"), "context": 32}}
    config = validate(PretrainConfig, {**described(text, steps=4).model_dump(), **again})
    run(config, tmp_path / "on")
    assert not Reading.of(open_checkpoint(str(tmp_path / "on" / "model"))).both


def test_an_objective_of_another_family_is_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(described(text, objective="mlm"), tmp_path / "out")
    assert caught.value.field == "training.objective"
