"""Tokens that a base lacks: learned, recorded in the adapter, and there wherever it is opened."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.parity.test_peft import IDS, our_logits, their_logits
from tests.parity.tuned import stir
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.train.rows import SOURCE, config, rows_of, tuned
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build, hf_state
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import ConfigError, DamagedError, SourceError
from tutelage.lm import Completion, Request
from tutelage.peft import METHODS
from tutelage.peft._low_rank import LoraLinear
from tutelage.peft._new_rows import NewRows
from tutelage.peft.layout import BASE, CONFIG
from tutelage.peft.open import open_adapter
from tutelage.tokenizers.added import with_tokens
from tutelage.train.prepare import predict, prepare, working
from tutelage.train.tune import tune

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
TOKENS = ("<step>", "teal")
WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
KINDS = ["lora", "qlora", "adapter", "prompt-tuning", "embeddings", "full"]


def run_of(method: str, source: str = SOURCE, **changes: Any) -> Any:
    return prepare(source, rows_of(), config(method=method, new_tokens=TOKENS, **changes), **WHERE)


def test_the_tokenizer_has_them_and_their_rows_begin_as_their_pieces() -> None:
    base = open_checkpoint(SOURCE, seed=0)
    grown = with_tokens(base, TOKENS)
    ids = grown.tokenizer.encode_plain("a <step> of teal")
    first = base.tokenizer.vocabulary
    assert ids.count(first) == 1 and ids.count(first + 1) == 1
    assert grown.tokenizer.decode(ids) == "a <step> of teal"
    assert grown.tokenizer.encode_plain("a step") == base.tokenizer.encode_plain("a step")
    table, before = build(grown).embed.tokens.weight, build(base).embed.tokens.weight
    pieces = base.tokenizer.encode_plain("teal")
    assert torch.allclose(table[first + 1], before[pieces].mean(0), atol=1e-6)
    assert torch.equal(table[:first], before[:first])


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model with a head that is a matrix of its own."""
    base = open_checkpoint(SOURCE, seed=0)
    weights = {**base.weights, "lm_head.weight": base.weights["model.embed_tokens.weight"]}
    folder = tmp_path_factory.mktemp("untied") / "model"
    config = {**base.config, "tie_word_embeddings": False}
    save_folder(None, replace(base, config=config, weights=weights), folder)
    return str(folder)


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_only_their_rows_are_trained_beside_the_method(
    method: str, tied: bool, untied: str
) -> None:
    run = run_of(method, SOURCE if tied else untied)
    model, work = working(run)
    assert run.trained_parameters == sum(p.numel() for p in work.parameters.values())
    rows = [m for m in model.modules() if isinstance(m, NewRows)]
    table, head = method not in ("full", "embeddings"), method != "full" and not tied
    assert len(rows) == table + head
    assert all(one.new_rows.shape == (2, 64) for one in rows)
    assert predict(run).peak_bytes > 0


@pytest.mark.parametrize("method", KINDS)
def test_what_was_learned_is_there_again(method: str, tmp_path: Path) -> None:
    """Opened anywhere, the adapter brings its tokens; one of them is a word of the rows."""
    changes: dict[str, Any] = {"learning_rate": 0.05, "steps": 3}
    out = tmp_path / "out"
    found = tuned(out, config(method=method, new_tokens=TOKENS, **changes))
    source = str(out) if method == "full" else SOURCE
    lm = LocalLM.open(source, adapter=None if method == "full" else out, **WHERE)
    teal = lm.checkpoint.tokenizer.encode_plain("teal")
    assert len(teal) == 1 and teal[0] == lm.checkpoint.tokenizer.vocabulary - 1
    table = lm.model.embed.tokens.weight.float()
    begun = build(with_tokens(open_checkpoint(SOURCE, seed=0), TOKENS)).embed.tokens.weight
    assert not torch.allclose(table[teal[0]], begun[teal[0]], atol=1e-4), "it was learned"
    if method not in ("full", "embeddings"):
        assert torch.allclose(table[: teal[0] - 1], begun[: teal[0] - 1]), "the others were not"
    events = list(lm.generate([Request("Backwards: teal", 6)]))
    assert isinstance(events[-1], Completion)
    scores = lm.score([("Backwards: teal", " laet")])
    again = LocalLM.open(source, adapter=None if method == "full" else out, **WHERE)
    assert again.score([("Backwards: teal", " laet")]) == scores
    assert found["trained_parameters"] > 0


@pytest.mark.parametrize("roles", [("head",), ("embed", "head", "attn.q")])
def test_beside_an_update_of_the_scores(
    roles: tuple[str, ...], untied: str, tmp_path: Path
) -> None:
    """Their rows stand below it, attached, opened and merged."""
    out = tmp_path / "out"
    settings = config(
        method="lora", options={"roles": roles}, new_tokens=TOKENS, learning_rate=0.05, steps=3
    )
    found = tune(untied, rows_of(), settings, out, **WHERE)
    assert found["loss"]["last"] < found["loss"]["first"]
    checkpoint = with_tokens(open_checkpoint(untied), TOKENS)
    model = build(checkpoint)
    before = our_logits(model, IDS)
    open_adapter(model, checkpoint, out)
    after = our_logits(model, IDS)
    assert (after - before).abs().max() > 0.01
    METHODS.get("lora").merge(model)
    assert (our_logits(model, IDS) - after).abs().max() < 1e-5
    assert not [one for one in model.modules() if isinstance(one, NewRows | LoraLinear)]


def test_the_adapter_names_them_and_another_base_is_still_refused(tmp_path: Path) -> None:
    tuned(tmp_path / "out", config(new_tokens=TOKENS))
    note = json.loads((tmp_path / "out" / BASE).read_text())
    assert note["tokens"] == list(TOKENS)
    written = json.loads((tmp_path / "out" / CONFIG).read_text())
    first = open_checkpoint(SOURCE, seed=0).tokenizer.vocabulary
    places = [first, first + 1]
    assert written["trainable_token_indices"] == places
    with pytest.raises(SourceError, match="another model"):
        LocalLM.open(SOURCE, adapter=tmp_path / "out", seed=3, **WHERE)
    note["tokens"] = "teal"
    manifest = tmp_path / "out" / "manifest.json"
    manifest.unlink()
    (tmp_path / "out" / BASE).write_text(json.dumps(note))
    with pytest.raises(DamagedError) as caught:
        LocalLM.open(SOURCE, adapter=tmp_path / "out", **WHERE)
    assert caught.value.field == str(tmp_path / "out" / BASE)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("heads", [False, True])
def test_we_open_theirs(tied: bool, heads: bool, tmp_path: Path) -> None:
    places: Any = [4, 9, 60]
    if heads and not tied:
        places = {"embed_tokens": [4, 9, 60], "lm_head": [7, 9, 61]}
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], r=2, trainable_token_indices=places
    )
    theirs = peft.get_peft_model(their_llama(6, tie_word_embeddings=tied), settings).eval()
    stir(theirs, seed=1)
    theirs.save_pretrained(tmp_path)
    checkpoint = checkpoint_of(their_llama(6, tie_word_embeddings=tied))
    ours = build(checkpoint)
    before = our_logits(ours, IDS)
    open_adapter(ours, checkpoint, tmp_path)
    expected = their_logits(theirs, IDS)
    assert (our_logits(ours, IDS) - expected).abs().max() < 1e-4
    assert (before - expected).abs().max() > 0.05
    assert not any(isinstance(module, NewRows) for module in ours.modules()), "merged"


@pytest.mark.parametrize("tied", [True, False])
def test_they_open_ours_on_a_model_with_the_rows(tied: bool, untied: str, tmp_path: Path) -> None:
    """PEFT wants the base to be resized first; then it finds its rows."""
    source = SOURCE if tied else untied
    settings = config(new_tokens=TOKENS, learning_rate=0.05)
    tune(source, rows_of(), settings, tmp_path / "out", **WHERE)
    grown = with_tokens(open_checkpoint(source, seed=0), TOKENS)
    save_folder(hf_state(build(grown), grown), grown, tmp_path / "base", dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    ids = grown.tokenizer.encode_plain("Backwards: teal <step>")
    ours = LocalLM.open(source, adapter=tmp_path / "out", **WHERE).model
    assert (our_logits(ours, ids) - their_logits(theirs, ids)).abs().max() < 1e-4


@pytest.mark.parametrize("tokens", [("",), ("  ",), ("e",), ("red!", "red!")])
def test_what_is_no_new_token_is_refused(tokens: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(SOURCE, rows_of(), config(new_tokens=tokens), **WHERE)
    assert caught.value.field == "--new-token"


def test_an_encoder_decoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="added to decoders"):
        run_of("lora", "preset:t5-tiny")


@pytest.mark.parametrize(
    "places", [[4], [4, 4, 60], [4, 9, 997], [4, 9, "x"], {"lm_head": [1]}, "many"]
)
def test_rows_that_do_not_fit_are_named(places: Any, tmp_path: Path) -> None:
    settings = peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], r=2, trainable_token_indices=[4, 9, 60]
    )
    peft.get_peft_model(their_llama(6), settings).save_pretrained(tmp_path)
    written = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**written, "trainable_token_indices": places}))
    checkpoint = checkpoint_of(their_llama(6))
    with pytest.raises(SourceError):
        open_adapter(build(checkpoint), checkpoint, tmp_path)
