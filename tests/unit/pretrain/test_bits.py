"""Bits per byte against token after token, and windows that predict everything once."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.pack import Example, pack
from tutelage.models.forward import forward
from tutelage.pretrain.bits import bits_per_byte, windows


@given(st.integers(2, 90), st.integers(2, 40))
def test_every_token_is_predicted_once_from_what_stands_before_it(
    length: int, context: int
) -> None:
    ids = list(range(length))
    predicted: list[int] = []
    for number, window in enumerate(windows(ids, context)):
        assert len(window.ids) <= context
        for at, label in zip(window.at, window.labels, strict=True):
            assert window.ids[at] == label - 1
            assert number == 0 or at + 1 >= context // 2
        predicted += window.labels
    assert predicted == ids[1:]


def test_bits_of_short_documents_by_hand() -> None:
    checkpoint = open_checkpoint("preset:llama-tiny", seed=3)
    model = build(checkpoint)
    documents = ["hello there", "né", "a longer document of some words"]
    end = checkpoint.tokenizer.eos_id
    assert end is not None
    found = bits_per_byte(model, checkpoint.tokenizer, end, documents, 64)
    nats = 0.0
    for text in documents:
        ids = [end, *text.encode()]
        with torch.inference_mode():
            example = Example(tuple(ids), tuple(range(len(ids))), tuple(ids))
            logits = model.logits(forward(model, pack([example])))
        for place, token in enumerate(ids[1:]):
            nats -= float(torch.log_softmax(logits[place], -1)[token])
    total = sum(len(text.encode()) for text in documents)
    assert found["value"] == pytest.approx(nats / math.log(2) / total, rel=1e-5)
    assert found["n"] == 3 and found["low"] < found["value"] < found["high"]
