"""Saved folders: what transformers opens and computes is what was saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.checkpoints import tiny
from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import RequestError, WorkError
from tutelage.lm import Message
from tutelage.text.render import Renderer

IDS = torch.tensor([[5, 17, 100, 42, 7, 300, 301, 9]])
TEXTS = [
    "What is the capital of France?",
    "été 123456 €\n\n\t x² ½ \u00a0 nbsp",
    "日本語 русский العربية 한국어 😀👩‍👩‍👧 ﷽",
    "def f(x):\n    return x  # I'm don't WE'LL\r\n",
    "  leading, trailing  ",
    "\u200b\u0301 combining e\u0301 \ufeff",
    "a" * 300,
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return folder_checkpoint(tiny.save_tiny(tmp_path_factory.mktemp("save") / "model"))


def logits(folder: Path) -> torch.Tensor:
    with torch.inference_mode():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits


def test_transformers_opens_what_was_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    saved = save_folder(None, checkpoint, tmp_path / "out")
    with torch.inference_mode():
        assert torch.equal(logits(saved.out), tiny.tiny_llama()(IDS).logits)
    assert store.verify(saved.out)
    manifest = json.loads((saved.out / store.MANIFEST).read_text())
    assert saved.bytes == sum(entry["bytes"] for entry in manifest["files"].values())
    again = folder_checkpoint(saved.out)
    assert set(again.weights) == set(checkpoint.weights)
    assert again.tokenizer.eos_ids == checkpoint.tokenizer.eos_ids


def test_a_changed_state_is_what_is_saved(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {name: reader.load() * 2 for name, reader in checkpoint.weights.items()}
    tied = state | {"lm_head.weight": state["model.embed_tokens.weight"]}
    save_folder(tied, checkpoint, tmp_path / "out")
    again = folder_checkpoint(tmp_path / "out")
    assert "lm_head.weight" not in again.weights
    assert all(torch.equal(again.weights[name].load(), state[name]) for name in state)


def test_an_untied_head_that_shares_memory_is_saved(tmp_path: Path) -> None:
    model = tiny.tiny_llama(tie_word_embeddings=False)
    original = folder_checkpoint(tiny.save_tiny(tmp_path / "model", model))
    state = {name: reader.load() for name, reader in original.weights.items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    save_folder(state, original, tmp_path / "out")
    again = folder_checkpoint(tmp_path / "out").weights
    assert torch.equal(again["lm_head.weight"].load(), again["model.embed_tokens.weight"].load())


def test_shards_are_split_and_read_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_folder(None, checkpoint, tmp_path / "whole")
    save_folder(None, checkpoint, tmp_path / "shards", shard_bytes=20_000)
    assert len(list((tmp_path / "shards").glob("model-*-of-*.safetensors"))) > 2
    assert torch.equal(logits(tmp_path / "whole"), logits(tmp_path / "shards"))
    again = folder_checkpoint(tmp_path / "shards")
    assert set(again.weights) == set(checkpoint.weights)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_config_names_the_stored_type(
    dtype: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_folder(None, checkpoint, tmp_path / "out", dtype=dtype)
    again = folder_checkpoint(tmp_path / "out")
    assert again.config["torch_dtype"] == dtype
    assert "dtype" not in again.config
    assert {reader.dtype for reader in again.weights.values()} == {dtype}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert model.dtype == getattr(torch, dtype)


def test_states_that_do_not_fit_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {name: reader.load() for name, reader in checkpoint.weights.items()}
    wrong = {
        "lacks": {k: v for k, v in state.items() if k != "model.norm.weight"},
        "shape": state | {"model.norm.weight": torch.zeros(3)},
        "unknown": state | {"model.extra.weight": torch.zeros(3)},
    }
    for message, bad in wrong.items():
        with pytest.raises(WorkError, match=message):
            save_folder(bad, checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_folders_saved_before_are_replaced(checkpoint: Checkpoint, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    save_folder(None, checkpoint, home)  # empty: may be taken
    save_folder(None, checkpoint, home)  # one of ours: may be replaced
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear.txt").write_text("keep me")
    with pytest.raises(RequestError, match="exists"):
        save_folder(None, checkpoint, letters)
    assert (letters / "dear.txt").read_text() == "keep me"
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="exists"):
        save_folder(None, checkpoint, tmp_path / "file")


def test_a_preset_saves_too(tmp_path: Path) -> None:
    preset = open_checkpoint("preset:llama-tiny", seed=1)
    save_folder(None, preset, tmp_path / "out")
    again = folder_checkpoint(tmp_path / "out")
    assert again.tokenizer.eos_ids == {256, 258}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.generation_config.eos_token_id == [256, 258]
    for name, value in model.state_dict().items():
        made = "model.embed_tokens.weight" if name == "lm_head.weight" else name
        assert torch.equal(value, preset.weights[made].load())


@pytest.mark.real
def test_smollm2s_ids_are_those_of_transformers(smollm2: Path, tmp_path: Path) -> None:
    checkpoint = gguf_checkpoint(smollm2)
    checkpoint.tokenizer.to_files(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    renderer = Renderer(checkpoint.tokenizer)
    for text in TEXTS:
        ids = theirs(text)["input_ids"]
        assert renderer.prompt_ids(text) == checkpoint.tokenizer.encode_plain(text) == ids
        assert checkpoint.tokenizer.decode(ids) == theirs.decode(ids) == text
        turns = [("user", text), ("assistant", "well"), ("user", text)]
        for chat in (turns, [("system", "Be brief."), *turns]):
            expected = theirs.apply_chat_template(
                [{"role": role, "content": content} for role, content in chat],
                add_generation_prompt=True,
                return_dict=False,
            )
            messages = tuple(Message(role, content) for role, content in chat)
            assert renderer.prompt_ids(messages) == expected
    prompt, trained = renderer.example_ids((Message("user", "hi"),), "there")
    assert trained == [*checkpoint.tokenizer.encode("there"), 2]
    assert prompt == renderer.prompt_ids((Message("user", "hi"),))
