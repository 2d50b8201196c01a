"""What virtual tokens begin as: random words, random numbers, or a text of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.parity.test_peft import IDS, our_logits
from tests.parity.test_peft_methods import virtual_logits
from tests.parity.tuned import attached
from tests.parity.witness import checkpoint_of, their_llama
from tests.unit.train.rows import SOURCE, config, rows_of
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError
from tutelage.train.prepare import prepare

WORDS = (5, 11, 17)


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return checkpoint_of(their_llama(6))


def test_vectors_of_a_text_over_and_over(checkpoint: Any) -> None:
    model = build(checkpoint)
    attached("prompt-tuning", model, checkpoint, tokens=7, text="-", words=WORDS)
    expected = build(checkpoint).embed.tokens.weight[[5, 11, 17, 5, 11, 17, 5]]
    assert torch.equal(model.embed.tokens.maker(), expected)


def test_keys_and_values_of_a_text(checkpoint: Any) -> None:
    """Before anything is learned the model answers as if the text stood before the row."""
    model = build(checkpoint)
    attached("prefix-tuning", model, checkpoint, text="-", words=WORDS)
    expected = our_logits(build(checkpoint), [*WORDS, *IDS])[len(WORDS) :]
    assert (virtual_logits(model, IDS) - expected).abs().max() < 1e-4


def test_random_numbers_are_as_large_as_those_of_words(checkpoint: Any) -> None:
    rows = []
    for start in ("vocabulary", "random"):
        model = build(checkpoint)
        attached("prefix-tuning", model, checkpoint, start=start, tokens=20)
        rows.append(model.embed.tokens.maker())
    assert rows[0].shape == rows[1].shape and not torch.equal(rows[0], rows[1])
    assert float(rows[1].std().detach()) == pytest.approx(float(rows[0].std().detach()), rel=0.1)


def prepared(method: str, **options: Any) -> Any:
    asked = config(method=method, options=options)
    return prepare(SOURCE, rows_of(), asked, device="cpu", dtype="fp32", threads=1)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_a_text_is_as_many_virtual_tokens_as_it_has(method: str) -> None:
    run = prepared(method, text="Backwards, please")
    ids = run.checkpoint.tokenizer.encode_plain("Backwards, please")
    assert run.settings.tokens == len(ids) > 5 and list(run.settings.words) == ids
    assert prepared(method, text="Backwards, please", tokens=40).settings.tokens == 40
    assert prepared(method).settings.tokens == 20


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("prompt-tuning", {"text": "Backwards", "tokens": 3}),
        ("prompt-tuning", {"text": ""}),
        ("prefix-tuning", {"text": "Backwards", "start": "random"}),
        ("prefix-tuning", {"text": "Backwards", "hidden": 8}),
    ],
)
def test_a_text_that_does_not_fit_is_refused(method: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        prepared(method, **options)
    assert caught.value.field == "--text" and caught.value.expected
