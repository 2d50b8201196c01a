"""Masked language modelling: which tokens are hidden and by what, and that it is learned."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.text.test_tokenizer import word_pieces
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.data.pack import Example, pack
from tutelage.errors import ConfigError
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer
from tutelage.objectives import mlm
from tutelage.objectives.mlm import Masking
from tutelage.text.byte_level import byte_tokenizer, encoder_tokenizer
from tutelage.train.loop import Plan, Step, train
from tutelage.train.optimizer import adamw
from tutelage.train.schedule import Schedule

TOKENIZER = encoder_tokenizer()
MASKING = Masking.of(TOKENIZER)
WORDS = Masking.of(TOKENIZER, whole_words=True)
PROSE = "It was a bright, cold day in April: the 13 clocks weren't striking 7!"
ROW = TOKENIZER.encode_row(PROSE)


def masked(
    masking: Masking = MASKING,
    ids: Sequence[int] = ROW,
    seed: int = 0,
    epoch: int = 0,
    row: int = 0,
) -> Example:
    return mlm.example(ids, masking, seed=seed, epoch=epoch, row=row)


def test_labels_are_what_stood_there_and_nothing_else_changed() -> None:
    for number in range(200):
        found = masked(row=number)
        original = list(ROW)
        for place, label in zip(found.at, found.labels, strict=True):
            assert original[place] == label
        changed = [i for i, (a, b) in enumerate(zip(found.ids, original, strict=True)) if a != b]
        assert set(changed) <= set(found.at)
        assert list(found.at) == sorted(set(found.at))
        assert found.lead == len(ROW)


def test_control_tokens_are_never_hidden_nor_put_in() -> None:
    for epoch in range(300):
        found = masked(epoch=epoch)
        assert found.ids[0] == ROW[0] and found.ids[-1] == ROW[-1]
        assert TOKENIZER.control_ids.isdisjoint(found.labels)
        put_in = {found.ids[place] for place in found.at} - {MASKING.mask}
        assert TOKENIZER.control_ids.isdisjoint(put_in)
    nothing = masked(ids=[0, 2])
    assert (nothing.ids, nothing.at) == ((0, 2), ())
    single = masked(ids=[0, 70, 2])
    assert single.at == (1,)


def test_shares_are_those_of_the_paper() -> None:
    """15% of the tokens, exactly but for rounding; of them 80% masked, 10% replaced, 10% as they
    were, within four standard deviations of 60,000 draws. A replacement is the same by chance once
    in 256."""
    ids = [0, *(4 + i % 256 for i in range(1000)), 2]
    drawn = [masked(ids=ids, epoch=epoch) for epoch in range(400)]
    assert all(found.trained == 150 for found in drawn)
    read = np.array([[found.ids[place] for place in found.at] for found in drawn])
    labels = np.array([found.labels for found in drawn])
    count = read.size
    for expected, times in (
        (0.8, (read == MASKING.mask).sum()),
        (0.1 * 255 / 256, ((read != MASKING.mask) & (read != labels)).sum()),
        (0.1 * 257 / 256, (read == labels).sum()),
    ):
        spread = math.sqrt(expected * (1 - expected) / count)
        assert abs(times / count - expected) < 4 * spread
    places = np.bincount([place for found in drawn for place in found.at], minlength=1002)[1:-1]
    assert abs(places.mean() / 400 - 0.15) < 1e-9
    assert places.max() < 400 * 0.15 + 5 * math.sqrt(400 * 0.15 * 0.85)
    replaced = read[(read != MASKING.mask) & (read != labels)]
    assert len(set(replaced.tolist())) == 256


def test_another_share() -> None:
    assert masked(Masking.of(TOKENIZER, share=1.0)).trained == len(PROSE)
    assert masked(Masking.of(TOKENIZER, share=0.5)).trained == round(0.5 * len(PROSE))
    for share in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="no share"):
            Masking.of(TOKENIZER, share=share)


def words_of(text: str) -> list[tuple[int, int]]:
    """Start and end of runs of letters and digits, and of each other character, by hand."""
    words: list[tuple[int, int]] = []
    for place, character in enumerate(text):
        inside = character.isalnum() and place and text[place - 1].isalnum()
        if inside:
            words[-1] = (words[-1][0], place + 1)
        else:
            words.append((place, place + 1))
    return words


def test_whole_words_are_hidden_together() -> None:
    words, hidden_words = words_of(PROSE), set()
    for epoch in range(300):
        hidden = {place - 1 for place in masked(WORDS, epoch=epoch).at}
        assert 1 <= len(hidden) <= max(round(0.15 * len(PROSE)), 8)
        for start, end in words:
            inside = hidden & set(range(start, end))
            assert inside in (set(), set(range(start, end)))
            if inside:
                hidden_words.add((start, end))
    assert hidden_words == set(words)


def test_words_of_word_pieces() -> None:
    tokenizer = word_pieces()  # un ##known
    masking = Masking.of(tokenizer, share=0.4, whole_words=True)
    assert masking.inside == {5}
    row = [1, 4, 5, 4, 4, 5, 2]
    seen = {masked(masking, row, epoch=epoch).at for epoch in range(50)}
    assert seen == {(1, 2), (3,), (4, 5)}
    assert masked(masking, [1, 4, 5, 2]).at == (1, 2)  # a word longer than the share, alone


def test_masks_follow_from_seed_epoch_and_row_alone() -> None:
    same = [masked(seed=3, epoch=2, row=7) for _ in range(2)]
    assert same[0] == same[1]
    others = [masked(seed=4), masked(epoch=1), masked(row=1), masked()]
    assert len({found.at for found in others}) == 4
    code = f"""if True:
        from tutelage.objectives.mlm import Masking, example
        from tutelage.text.byte_level import encoder_tokenizer
        masking = Masking.of(encoder_tokenizer(), whole_words=True)
        print(example({ROW}, masking, seed=9, epoch=0, row=0).ids)"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(masked(WORDS, seed=9).ids)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Masking.of(byte_tokenizer())
    assert caught.value.field == "mask_token"


TEXTS = [
    "the cat sat on the mat", "a stitch in time saves nine", "all that glitters is not gold",
    "better late than never", "the cat is out of the bag", "no news is good news",
    "actions speak louder than words", "every cloud has a silver lining",
]  # fmt: skip
EIGHT = [
    mlm.example(TOKENIZER.encode_row(text), MASKING, seed=1, epoch=0, row=number)
    for number, text in enumerate(TEXTS)
]


def encoder(name: str = "bert-tiny") -> Transformer:
    model: Transformer = build(open_checkpoint(f"preset:{name}", seed=2))
    return model.train().requires_grad_(True)


def trained(
    model: Transformer, steps: int, rate: float, rows: Sequence[Example] = EIGHT, **plan: Any
) -> list[Step]:
    parameters = dict(model.named_parameters())
    settings = Plan(Schedule.tuning(steps, rate), **plan)
    return list(
        train(model, parameters, adamw(parameters, rate), [rows] * steps, mlm.loss, settings)
    )


@pytest.mark.parametrize("name", ["bert-tiny", "roberta-tiny"])
def test_a_fresh_encoder_knows_nothing(name: str) -> None:
    """ln V nats a token, within 2%."""
    first = trained(encoder(name), 1, 1e-9)[0]
    assert first.loss == pytest.approx(math.log(260), rel=0.02)
    assert first.trained_tokens == sum(row.trained for row in EIGHT)


def test_eight_rows_are_learned_by_heart() -> None:
    steps = trained(encoder(), 150, 3e-3)
    assert steps[-1].loss < 0.05


def test_eight_micro_batches_equal_one() -> None:
    """A sum over a count: any cut is exact but for the rounding of sums in another order, which
    AdamW magnifies where a gradient is near zero."""
    whole, parts = encoder(), encoder()
    one = trained(whole, 5, 1e-3)
    eight = trained(parts, 5, 1e-3, micro_batches=8)
    for a, b in zip(one, eight, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-5)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-4)
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert (a - b).abs().max() < 1e-5, name


def test_rows_that_begin_alike_are_read_whole() -> None:
    """Their beginnings see different ends, so that packing may not share them."""
    texts = [f"the same beginning of every row {end}" for end in ("a", "bcd", "efghijk")]
    rows = [
        mlm.example(TOKENIZER.encode_row(text), MASKING, seed=5, epoch=0, row=0) for text in texts
    ]
    model = encoder()
    together = trained(model, 1, 1e-9, rows)[0].loss
    apart = [trained(encoder(), 1, 1e-9, [row])[0].loss * row.trained for row in rows]
    assert together == pytest.approx(sum(apart) / sum(row.trained for row in rows), rel=1e-5)


def test_gradients_of_the_loss_equal_cross_entropy() -> None:
    model, plan = encoder(), pack(EIGHT)
    labels, weights = torch.from_numpy(plan.labels), torch.from_numpy(plan.weights)
    found = mlm.loss(model, forward(model, plan), labels, weights)
    found.total.backward()
    mine = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = torch.nn.functional.cross_entropy(
        model.logits(forward(model, plan)), labels, reduction="sum"
    )
    expected.backward()
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert "head.bias" in mine and "head.transform.norm.weight" in mine
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(mine[name], parameter.grad, atol=1e-5), name
