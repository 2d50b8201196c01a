"""Vectors of texts: each way of joining, against loops over one row at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.sentence import Pooling
from tutelage.data.pack import Example, pack
from tutelage.errors import RequestError
from tutelage.generate import embed as module
from tutelage.generate.embed import MODES, embed
from tutelage.lm import Request
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer

ROWS = [[0, 70, 2], [0, *range(10, 60), 2], [0, 2], [0, 70, 2], [0, *range(90, 120), 2]]


@pytest.fixture(scope="module")
def model() -> Transformer:
    return build(open_checkpoint("preset:bert-tiny", seed=4))


def tokens_of(model: Transformer, row: list[int]) -> list[list[float]]:
    example = Example(tuple(row), tuple(range(len(row))), tuple(row), lead=len(row))
    with torch.inference_mode():
        found: list[list[float]] = model.vectors(forward(model, pack([example]))).tolist()
    return found


def mean(x: list[float]) -> float:
    return sum(x) / len(x)


NAIVE: dict[str, Callable[[list[float]], float]] = {
    "cls": lambda x: x[0],
    "lasttoken": lambda x: x[-1],
    "max": max,
    "mean": mean,
    "mean_sqrt_len_tokens": lambda x: sum(x) / math.sqrt(len(x)),
    "weightedmean": lambda x: sum((i + 1) * v for i, v in enumerate(x)) / sum(range(1, len(x) + 1)),
}


@pytest.mark.parametrize("mode", MODES)
def test_each_way_of_joining(mode: str, model: Transformer) -> None:
    found = embed(model, ROWS, Pooling((mode,)))
    for row, vector in zip(ROWS, found, strict=True):
        columns = zip(*tokens_of(model, row), strict=True)
        assert vector == pytest.approx([NAIVE[mode](list(c)) for c in columns], abs=1e-5)


def test_several_stand_one_after_the_other_and_have_length_one(model: Transformer) -> None:
    found = torch.tensor(embed(model, ROWS, Pooling(("cls", "max"), normalize=True)))
    assert found.shape == (len(ROWS), 128)
    assert torch.allclose(found.norm(dim=-1), torch.ones(len(ROWS)))
    plain = torch.tensor(embed(model, ROWS, Pooling(("cls", "max"))))
    assert torch.allclose(torch.nn.functional.normalize(plain, dim=-1), found, atol=1e-6)


def test_company_changes_nothing(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    def vectors(exact: bool = False, rows: list[list[int]] = ROWS) -> Tensor:
        return torch.tensor(embed(model, rows, Pooling(), exact))

    whole = vectors()
    assert torch.allclose(vectors()[0], whole[3], atol=1e-6)  # the same row twice
    monkeypatch.setattr(module, "PACK_TOKENS", 10)
    assert torch.allclose(vectors(), whole, atol=1e-5)
    exact = vectors(exact=True)
    for place, row in enumerate(ROWS):
        assert torch.equal(vectors(True, [row])[0], exact[place])


def test_an_encoder_behind_the_seam() -> None:
    lm = LocalLM.open("preset:bert-tiny", device="cpu", dtype="fp32", threads=1)
    assert lm.embed([]) == []
    (one, two) = lm.embed(["a text", "another"])
    assert len(one) == 64 and one != two
    assert lm.capabilities().embed and not lm.capabilities().generate
    with pytest.raises(RequestError, match="does not fit") as caught:
        lm.embed(["x" * 511])
    assert (caught.value.field, caught.value.got) == ("text 0", "513 tokens")
    with pytest.raises(RequestError, match="gives no text") as refused:
        list(lm.generate([Request("a")]))
    assert "vectors" in (refused.value.hint or "")
    with pytest.raises(RequestError, match="no continuations"):
        lm.score([("a", "b")])


def test_a_decoder_gives_no_vectors_of_texts() -> None:
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    assert not lm.capabilities().embed
    with pytest.raises(RequestError, match="no embeddings"):
        lm.embed(["a"])
