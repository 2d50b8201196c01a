"""Attention maps and the logit lens are transformers' own; induction scores by hand; the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.parity.witness import checkpoint_of, their_llama
from tutelage.checkpoints.build import build
from tutelage.cli.main import run_command
from tutelage.errors import RequestError
from tutelage.inspect.induction import induction, score_of
from tutelage.inspect.lens import lens
from tutelage.inspect.watch import watch
from tutelage.models.transformer import Transformer

IDS = [5, 17, 3, 5, 17, 44, 8]


def gpt2() -> Any:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=61, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.2,
        architectures=["GPT2LMHeadModel"],
    )  # fmt: skip
    return GPT2LMHeadModel(config).float().eval()


@pytest.fixture(params=["llama", "gpt2"])
def both(request: pytest.FixtureRequest) -> tuple[Any, Transformer]:
    theirs = their_llama() if request.param == "llama" else gpt2()
    theirs.set_attn_implementation("eager")
    ours = build(checkpoint_of(theirs), "fp32", "cpu")
    assert isinstance(ours, Transformer)
    return theirs, ours


def test_weights_and_streams_are_transformers(both: tuple[Any, Transformer]) -> None:
    theirs, ours = both
    with torch.inference_mode():
        told = theirs(torch.tensor([IDS]), output_attentions=True, output_hidden_states=True)
    seen = watch(ours, IDS)
    assert len(seen.weights) == len(told.attentions) == 3
    for got, expected in zip(seen.weights, told.attentions, strict=True):
        torch.testing.assert_close(got, expected[0], atol=1e-5, rtol=1e-4)
    # Their last hidden state is behind the final norm; those before are the plain stream.
    for got, expected in zip(seen.streams[:-1], told.hidden_states[1:-1], strict=True):
        torch.testing.assert_close(got, expected[0], atol=1e-4, rtol=1e-4)


def test_the_last_layers_lens_is_the_models_prediction(both: tuple[Any, Transformer]) -> None:
    theirs, ours = both
    with torch.inference_mode():
        told = theirs(torch.tensor([IDS]), output_hidden_states=True)
    logs = torch.log_softmax(told.logits[0], dim=-1)
    guesses = lens(ours, watch(ours, IDS), top=3)
    for place, guess in enumerate(guesses[-1]):
        best = logs[place].topk(3)
        assert list(guess.tokens) == best.indices.tolist()
        assert guess.probabilities == pytest.approx(best.values.exp().tolist(), rel=1e-3)
        if place + 1 < len(IDS):
            expected = -float(logs[place, IDS[place + 1]] / torch.log(torch.tensor(2.0)))
            assert guess.surprise == pytest.approx(expected, rel=1e-3)
    assert guesses[-1][-1].surprise is None
    # An earlier layer: their norm and head on the stream behind it.
    norm = theirs.model.norm if hasattr(theirs, "model") else theirs.transformer.ln_f
    with torch.inference_mode():
        early = theirs.lm_head(norm(told.hidden_states[1]))[0].argmax(-1)
    assert [guess.tokens[0] for guess in guesses[0]] == early.tolist()


def test_watching_changes_nothing(both: tuple[Any, Transformer]) -> None:
    ours = both[1]
    once, again = watch(ours, IDS), watch(ours, IDS)
    assert all(torch.equal(a, b) for a, b in zip(once.streams, again.streams, strict=True))
    assert not any(block._forward_hooks for block in ours.blocks)


def test_a_perfect_head_scores_one() -> None:
    length = 6
    weights = torch.zeros(2, 12, 12)
    for place in range(length - 1):
        weights[0, length + place, place + 1] = 1.0
    for place in range(12):
        weights[1, place, : place + 1] = 1 / (place + 1)
    perfect, even = score_of(weights, length).tolist()
    assert perfect == 1
    assert even == pytest.approx(sum(1 / (7 + t) for t in range(5)) / 5)


def test_scores_of_a_model_without_induction(both: tuple[Any, Transformer]) -> None:
    found = induction(both[1], range(50), lead=[1], length=12, sequences=2)
    assert len(found) == 12 and found == sorted(found, key=lambda one: -one.score)
    assert all(0 <= one.score < 0.6 for one in found)
    assert found == induction(both[1], range(50), lead=[1], length=12, sequences=2)


def test_too_long_a_row_is_refused(both: tuple[Any, Transformer]) -> None:
    for ids in ([], [1] * 65):
        with pytest.raises(RequestError, match="does not fit"):
            watch(both[1], ids)


def test_the_page_holds_everything_and_asks_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "inside.html"
    given = ["inspect", "preset:llama-tiny", "a </script> b", "--out", str(out)]
    assert run_command([*given, "--threads=1", "--dtype=fp32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["layers"], found["heads"]) == (2, 4) and len(found["induction"]) == 8
    text = out.read_text()
    [held] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    data = json.loads(held)
    tokens = data["texts"][0]["tokens"]
    weights = torch.tensor(data["texts"][0]["weights"])
    assert weights.shape == (2, 4, len(tokens), len(tokens))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, len(tokens)), atol=0.02, rtol=0)
    assert torch.equal(weights, weights.tril())
    assert not re.search(r"https?://|src=|@import", text)
    assert len(data["texts"][0]["lens"]) == 2 and len(data["induction"]) == 8


def test_the_two_banks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "inside.html"
    assert run_command(["inspect", "preset:bert-tiny", "--out", str(out), "--threads=1"]) == 0
    assert "layer" in capsys.readouterr().out and out.exists()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["scripted:x.jsonl"], "MODEL"),
        (["http://127.0.0.1:1/v1#m"], "MODEL"),
        (["preset:t5-tiny"], "MODEL"),
        (["preset:llama-tiny", "x" * 200], "PROMPT"),
        (["preset:llama-tiny", "--out", "no/such/folder/x.html"], "--out"),
    ],
)
def test_what_has_no_inside_is_refused(
    arguments: list[str], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no").write_text("a file")
    assert run_command(["inspect", *arguments, "--json", "--threads=1"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field
