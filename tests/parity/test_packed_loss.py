"""Packed loss and gradients equal those of each row alone in transformers, in float32."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from tests.parity.packed import gradients_differ, our_loss, their_loss
from tests.parity.witness import VOCABULARY, pair
from tutelage.data.pack import Example
from tutelage.nn import packed


def examples_of(prefix: int, count: int = 7, seed: int = 0) -> list[Example]:
    """Random rows with a common start; some weigh more, some are trained almost wholly."""
    drawn = random.Random(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(drawn.randrange(VOCABULARY) for _ in range(n))

    start = tokens(prefix)
    return [
        Example.answer(
            start + tokens(drawn.randrange(1, 15)),
            tokens(drawn.randrange(1, 12)),
            drawn.choice([1.0, 0.25, 3.0]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("prefix", [0, 13])
@pytest.mark.parametrize("tied", [False, True])
def test_loss_and_gradients(prefix: int, tied: bool) -> None:
    theirs, ours = pair(5, tie_word_embeddings=tied)
    ours.requires_grad_(True)
    examples = examples_of(prefix)
    found = our_loss(ours, examples)
    expected = their_loss(theirs, examples)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.count == sum(e.trained * e.weight for e in examples)
    (found.total / found.count).backward()
    (expected / found.count).backward()
    assert max(gradients_differ(ours, theirs).values()) < 1e-5


@pytest.mark.parametrize("prefix", [0, 13])
def test_without_the_library_pytorch_computes_the_same(
    prefix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "computes", lambda q: False)
    theirs, ours = pair(6)
    ours.requires_grad_(True)
    examples = examples_of(prefix)
    found = our_loss(ours, examples)
    expected = their_loss(theirs, examples)
    assert found.total.item() == pytest.approx(expected.item(), rel=1e-5)
    found.total.backward()
    expected.backward()
    # Sums over some 80 tokens and not means: the tolerance of the mean times their weight.
    assert max(gradients_differ(ours, theirs).values()) < 1e-5 * found.count


@pytest.mark.parametrize("checkpointing", [False, True])
def test_sharing_the_prefix_changes_nothing(checkpointing: bool) -> None:
    _, ours = pair(8)
    ours.requires_grad_(True)
    ours.checkpointing = checkpointing
    examples = examples_of(17)
    gradients = []
    for share in (True, False):
        found = our_loss(ours, examples, share=share)
        (found.total / found.count).backward()
        gradients.append({n: p.grad.clone() for n, p in ours.named_parameters()})
        ours.zero_grad(set_to_none=True)
    for name, gradient in gradients[0].items():
        assert (gradient - gradients[1][name]).abs().max() < 1e-5, name


def test_rows_do_not_see_each_other() -> None:
    """A row's loss stays bitwise when another row of the same length changes."""
    _, ours = pair(9)
    examples = examples_of(0, count=3)
    prompt = examples[1].ids[: examples[1].at[0] + 1]
    changed = Example.answer([(token + 1) % VOCABULARY for token in prompt], examples[1].labels)
    weights = [replace(e, weight=1.0 if i != 1 else 0.0) for i, e in enumerate(examples)]
    other = [weights[0], replace(changed, weight=0.0), weights[2]]
    with torch.no_grad():
        assert float(our_loss(ours, weights).total) == float(our_loss(ours, other).total)
