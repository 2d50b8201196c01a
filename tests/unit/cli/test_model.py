"""`model show` against transformers' own reading, `model pull` opened by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

import peft
import pytest
import torch
import transformers

from tests.parity.tuned import tuned
from tests.unit.checkpoints.programs import run_folder
from tutelage import load
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli.main import run_command
from tutelage.cli.model import pull, show
from tutelage.cli.shared import Shared
from tutelage.errors import GuardError, RequestError, SourceError, UnknownName
from tutelage.peft import METHODS

TINY = "preset:llama-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pulled") / "tiny"
    pull(TINY, out=out, shared=Shared(seed=5))
    return out


def test_a_pulled_model_is_one_transformers_opens(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = show(str(folder))
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    config = model.config
    assert found["architecture"] == type(model).__name__
    assert (found["layers"], found["width"]) == (config.num_hidden_layers, config.hidden_size)
    assert (found["heads"], found["kv_heads"]) == (
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    assert found["vocabulary"] == config.vocab_size
    assert found["context"] == config.max_position_embeddings
    assert found["dtype"] == "float32"
    assert found["bytes"] >= 4 * found["parameters"]


def test_what_pull_reports_is_what_lies_there(folder: Path, tmp_path: Path) -> None:
    again = pull(TINY, out=tmp_path / "again", shared=Shared(seed=5))
    other = pull(TINY, out=tmp_path / "other", shared=Shared(seed=6))
    files = [f for f in (tmp_path / "again").rglob("*") if f.is_file()]
    assert again["bytes"] == sum(f.stat().st_size for f in files if f.name != "manifest.json")
    assert again["sha256"] != other["sha256"]
    same = pull(TINY, out=tmp_path / "same", shared=Shared(seed=5))
    assert same["sha256"] == again["sha256"]
    one, two = (p / "model.safetensors" for p in (folder, tmp_path / "again"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(("flag", "kind"), [("bf16", "bfloat16"), ("fp16", "float16")])
def test_numbers_are_stored_as_asked(flag: str, kind: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "half"
    assert run_command(["model", "pull", str(folder), "--out", str(out), "--dtype", flag]) == 0
    assert show(str(out))["dtype"] == kind
    half = transformers.AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict()
    whole = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()
    assert {value.dtype for value in half.values()} == {getattr(torch, kind)}
    for name, value in whole.items():
        assert torch.equal(half[name], value.to(half[name].dtype))


def test_a_run_is_pulled_as_what_it_recommends(folder: Path, tmp_path: Path) -> None:
    whole = run_folder(tmp_path / "whole", base=TINY, seed=5)
    pull(str(whole), out=tmp_path / "pulled")
    one, two = (p / "model.safetensors" for p in (folder, tmp_path / "pulled"))
    assert one.read_bytes() == two.read_bytes(), "the seed is the run's"
    changed = run_folder(tmp_path / "changed", base=TINY, seed=6, fingerprint="of seed 5")
    with pytest.raises(GuardError, match="not the model it was"):
        pull(str(changed), out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def adapted(folder: Path, method: str, **said: Any) -> tuple[Path, Path]:
    """A run that recommends an adapter of this method, and the adapter."""
    run = run_folder(folder, base=TINY, seed=5, adapter="adapter", **said)
    checkpoint = open_checkpoint(TINY, seed=5)
    model, settings = tuned(method, checkpoint)
    METHODS.get(method).write(model, checkpoint, settings, run / "model" / "adapter")
    return run, run / "model" / "adapter"


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own, of transformers' names
@pytest.mark.filterwarnings("ignore::UserWarning:peft")
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_run_with_an_adapter_is_pulled_as_the_model_that_answers(
    dtype: Literal["fp32", "bf16"], folder: Path, tmp_path: Path
) -> None:
    run, adapter = adapted(tmp_path / "run", "lora")
    pulled = tmp_path / "pulled"
    assert pull(str(run), out=pulled, shared=Shared(dtype=dtype))["left_out"] is None
    assert show(str(pulled))["dtype"] == {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    where: dict[str, Any] = {"device": "cpu", "dtype": dtype, "threads": 1}
    served, opened = (cast(LocalLM, load(str(one), **where)) for one in (run, pulled))
    expected = served.model.state_dict()
    for name, value in opened.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert "the adapter that" in (pulled / "README.md").read_text()
    if dtype == "fp32":
        base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        ids = torch.arange(20)[None] + 5
        plain = base(ids).logits
        theirs = peft.PeftModel.from_pretrained(base, adapter)(ids).logits
        ours = transformers.AutoModelForCausalLM.from_pretrained(pulled)(ids).logits
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        assert (theirs - plain).abs().max() > 0.1


def test_what_a_model_folder_cannot_hold_is_refused_or_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, adapter = adapted(tmp_path / "run", "prompt-tuning")
    with pytest.raises(RequestError, match=f"cannot be merged into the weights of {TINY}") as found:
        pull(str(run), out=tmp_path / "out")
    assert found.value.got == str(adapter) and str(adapter) in str(found.value.hint)
    assert not (tmp_path / "out").exists()
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    shown = run_folder(tmp_path / "shown", base=TINY, seed=5, messages=turns)
    assert run_command(["model", "pull", str(shown), "--out", str(tmp_path / "out")]) == 0
    assert "left out: the 2 turns" in capsys.readouterr().out


def test_pull_does_not_overwrite_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(RequestError, match="exists"):
        pull(TINY, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_sources_without_weights_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "replies.jsonl"
    script.write_text('{"match": ".*", "reply": "yes"}\n', encoding="utf-8")
    for source in (f"scripted:{script}", "http://127.0.0.1:9/v1#m"):
        with pytest.raises(SourceError, match="no weights"):
            show(source)
    with pytest.raises(UnknownName):
        show("preset:llama-tinny")


def test_the_verbs_print(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["model", "show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "decoder"
    assert run_command(["model", "pull", TINY, "--out", str(tmp_path / "x")]) == 0
    assert "sha256" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "family", "architecture", "parameters", "context"),
    [
        ("bert-base", "encoder", "BertModel", 109_482_240, 512),
        ("bert-tiny", "encoder", "BertForMaskedLM", 154_180, 512),
        ("roberta-large", "encoder", "RobertaModel", 355_359_744, 512),
        ("gpt3-175b", "decoder", "GPT2LMHeadModel", 174_604_259_328, 2048),
    ],
)
def test_presets_are_shown_and_not_built(
    name: str, family: str, architecture: str, parameters: int, context: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run_command(["model", "show", f"preset:{name}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["family"], found["architecture"]) == (family, architecture)
    assert (found["parameters"], found["context"]) == (parameters, context)


@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_an_encoder_is_refused_where_text_is_asked_for(
    raw: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["generate", "preset:bert-tiny", "Hello", "--json", "--device", "cpu", *raw]
    assert run_command(given) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], error["got"]) == ("request", "preset:bert-tiny")
    assert "gives no text" in error["message"] and "vectors" in error["hint"]
