"""The model that writes below a head: what is left of it reads as the tuned model does, and scores
tokens as the base does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.heads.rows import tuned
from tutelage.backends.below import open_below
from tutelage.backends.headed import HeadLM
from tutelage.backends.local import LocalLM
from tutelage.backends.open import open_lm
from tutelage.checkpoints.headed import writes_below
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli.shared import Shared
from tutelage.cli.tune_data import Mixture
from tutelage.cli.tune_forgetting import lost
from tutelage.data.pack import Example, pack
from tutelage.errors import SourceError
from tutelage.models.forward import forward
from tutelage.peft import METHODS

WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}
TINY = "preset:llama-tiny"
NEW = tuple(f"w{number}w" for number in range(200))
"""More words than the table has rows to spare."""
TEXT = ("The soup", " was cold and the rain was warm.")


def vectors(lm: Any, virtual: tuple[int, ...]) -> torch.Tensor:
    ids = (*virtual, *b"the soup of rain")
    row = Example(ids, (len(ids) - 1,), (0,), lead=len(virtual))
    with torch.inference_mode():
        return forward(lm.model, pack([row]))


@pytest.mark.parametrize("method", METHODS.names())
def test_what_is_below_is_what_was_tuned(method: str, tmp_path: Path) -> None:
    found = tuned("classification", tmp_path, method=method, learning_rate=1e-2)
    out, adapter = tmp_path / "out", METHODS.get(method).adapter
    headed = open_lm(TINY, adapter=out, **WHERE) if adapter else open_lm(str(out), **WHERE)
    below = open_below(TINY, out, **WHERE)
    base = open_lm(TINY, **WHERE)
    assert isinstance(headed, HeadLM) and isinstance(below, LocalLM) and isinstance(base, LocalLM)
    assert below.model.task is None and found["settings"]["head"] == "classification"
    virtual = headed.predictor.coder.virtual.ids
    ours = vectors(below, virtual)
    assert torch.equal(ours, vectors(headed, virtual))
    if method != "prompt-tuning":  # four steps of vectors before the text move it by little
        assert not torch.equal(ours, vectors(base, ()))
    (before,), (after,) = base.score([TEXT]), below.score([TEXT])
    assert before.tokens == after.tokens and before.log_probability != after.log_probability


def test_scores_of_tokens_are_the_bases_where_nothing_was_learned(tmp_path: Path) -> None:
    tuned("classification", tmp_path, method="full", learning_rate=1e-12, steps=1)
    base, below = open_lm(TINY, **WHERE), open_below(TINY, tmp_path / "out", **WHERE)
    (before,), (after,) = base.score([TEXT]), below.score([TEXT])
    assert after.log_probability == pytest.approx(before.log_probability, abs=1e-4)


@pytest.mark.parametrize(
    ("source", "head", "writes"),
    [
        (TINY, "token-classification", True),
        ("preset:bert-tiny", "classification", False),
        ("preset:t5-tiny", "token-classification", False),
        ("preset:bart-tiny", "classification", True),
    ],
)
def test_where_something_still_writes(source: str, head: str, writes: bool) -> None:
    assert writes_below(open_checkpoint(source), head) is writes


def test_an_encoder_decoder_is_measured_below_its_head(tmp_path: Path) -> None:
    source = "preset:bart-tiny"
    for method in ("lora", "full"):
        tuned("classification", tmp_path / method, source, method=method, learning_rate=1e-2)
        base, below = (
            open_lm(source, **WHERE),
            open_below(source, tmp_path / method / "out", **WHERE),
        )
        (before,), (after,) = base.score([TEXT]), below.score([TEXT])
        assert before.tokens == after.tokens and before.log_probability != after.log_probability


def test_a_table_with_new_tokens_is_not_measured_and_named(tmp_path: Path) -> None:
    """The base has no scores of tokens that it never had; a finished tuning does not fail by it."""
    found = tuned("classification", tmp_path, method="full", steps=1, new_tokens=NEW)
    with pytest.raises(SourceError, match="other tokens than its base"):
        open_below(TINY, tmp_path / "out", **WHERE)
    told = lost(TINY, tmp_path / "out", "full", Mixture(), Shared(), found["settings"])
    assert told == {"forgetting": None, "general": None}
