"""Every head that transformers has a class for: their folder opens here, ours opens there, with
equal scores, and the losses and gradients are theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.parity.heads import CASES, END, their_scores, theirs_of
from tests.parity.witness import checkpoint_of
from tutelage.checkpoints.build import build, hf_state
from tutelage.checkpoints.safetensors_file import write_tensors
from tutelage.data.pack import Example, memory_of, pack
from tutelage.heads import HEADS
from tutelage.heads.coder import Coded, Coder
from tutelage.models.catalogue import layout, shape, spec_for
from tutelage.models.forward import forward, task_scores
from tutelage.models.headed import head_of

ROWS = [[5, 9, 30, 12, 7, 44], [8, 3, 4], [61, 60, 59, 58, 6, 6, 6, 7, 80]]
WHOLE = {"token-classification", "question-answering"}
"""Heads that score every token."""


def coder_of(config: Any) -> Coder:
    found = shape(config)
    return Coder(None, spec_for(config).family, found.context, found.start)  # type: ignore[arg-type]


def rows_for(stem: str, coder: Coder) -> list[list[int]]:
    """Theirs find the end of an encoder-decoder's row by its end token."""
    return [[*row, END] for row in ROWS] if coder.start is not None else ROWS


def examples_of(head: str, coder: Coder, rows: list[list[int]]) -> list[Example]:
    coded = [Coded(tuple(row), (), ()) for row in rows]
    if head in WHOLE:
        return [coder.example(one, range(len(one.ids)), [0] * len(one.ids)) for one in coded]
    made = [coder.example(one, [coder.deciding(one)], [0]) for one in coded]
    return made


def our_scores(model: Any, examples: list[Example]) -> torch.Tensor:
    memory = memory_of(examples) if any(one.memory for one in examples) else None
    return task_scores(model, forward(model, pack(examples), memory))


@pytest.mark.parametrize(("stem", "head"), CASES)
def test_scores_are_theirs(stem: str, head: str, tmp_path: Path) -> None:
    theirs = theirs_of(stem, head)
    checkpoint = checkpoint_of(theirs)
    assert head_of(checkpoint.config) == head
    ours = build(checkpoint)
    coder = coder_of(checkpoint.config)
    rows = rows_for(stem, coder)
    expected = their_scores(theirs, rows)
    with torch.inference_mode():
        found = our_scores(ours, examples_of(head, coder, rows))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4
    assert expected.std(0).max() > 1e-2, "the rows are told apart"
    _opened_by_theirs(theirs, ours, checkpoint, rows, tmp_path)


def _opened_by_theirs(
    theirs: Any, ours: Any, checkpoint: Any, rows: list[list[int]], folder: Path
) -> None:
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.01)
    state = {name: value.contiguous().clone() for name, value in hf_state(ours, checkpoint).items()}
    write_tensors(state, folder / "model.safetensors")
    theirs.config.save_pretrained(folder)
    again, said = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not said["unexpected_keys"] and not said["missing_keys"]
    head = head_of(checkpoint.config)
    assert head is not None
    with torch.inference_mode():
        found = our_scores(ours, examples_of(head, coder_of(checkpoint.config), rows))
    assert (their_scores(again.eval(), rows) - found).abs().max() < 1e-4


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("stem", "head"), [case for case in CASES if case[0] in ("Llama", "Bert", "Bart")]
)
def test_losses_and_gradients_are_theirs(stem: str, head: str) -> None:
    theirs = theirs_of(stem, head)
    checkpoint = checkpoint_of(theirs)
    ours = build(checkpoint).requires_grad_(True)
    coder = coder_of(checkpoint.config)
    rows = rows_for(stem, coder)
    expected, examples = _their_loss(theirs, head, coder, rows)
    expected.backward()
    found = pack(examples)
    memory = memory_of(examples) if coder.start is not None else None
    loss = HEADS.get(head).loss(
        ours, forward(ours, found, memory), torch.from_numpy(found.labels),
        torch.from_numpy(found.weights),
    )  # fmt: skip
    terms = sum(one.trained for one in examples)
    assert loss.count == pytest.approx(terms)
    (loss.total / terms).backward()
    assert float(loss.total.detach()) / terms == pytest.approx(expected.item(), abs=1e-5)
    theirs_by_name = gradients(theirs)
    mine = gradients(ours)
    for weight in layout(checkpoint.config):
        if weight.hf_name in theirs_by_name and weight.path in mine:
            other = theirs_by_name[weight.hf_name].reshape(weight.stored_shape)
            other = other.t() if weight.transposed else other
            assert (mine[weight.path] - other.reshape(weight.shape)).abs().max() < 1e-4, weight.path


def _their_loss(theirs: Any, head: str, coder: Coder, rows: list[list[int]]) -> Any:
    coded = [Coded(tuple(row), (), ()) for row in rows]
    if head == "classification":
        labels = [2, 0, 1]
        total = [
            theirs(torch.tensor([row]), labels=torch.tensor([label])).loss
            for row, label in zip(rows, labels, strict=True)
        ]
        made = [
            coder.example(one, [coder.deciding(one)], [label])
            for one, label in zip(coded, labels, strict=True)
        ]
        return torch.stack(total).mean(), made
    if head == "token-classification":
        tags = [[(place * 7 + n) % 3 for place in range(len(row))] for n, row in enumerate(rows)]
        total = [
            theirs(torch.tensor([row]), labels=torch.tensor([each])).loss * len(row)
            for row, each in zip(rows, tags, strict=True)
        ]
        made = [
            coder.example(one, range(len(each)), each)
            for one, each in zip(coded, tags, strict=True)
        ]
        return sum(total) / sum(map(len, rows)), made
    if head == "multiple-choice":
        alike = [row[:3] for row in rows]
        total = theirs(torch.tensor([alike, alike[::-1]]), labels=torch.tensor([1, 0])).loss
        made = []
        for choices, right in ((alike, 1), (alike[::-1], 0)):
            each = [coder.example(Coded(tuple(c), (), ()), [0], [-1]) for c in choices[1:]]
            first = Coded(tuple(choices[0]), (), ())
            made.append(coder.example(first, [0], [right], beside=each, terms=1))
        return total, made
    total, made = [], []
    for n, (row, one) in enumerate(zip(rows, coded, strict=True)):
        start, end = n % 2, len(row) - 1 - n % 3
        where = {"start_positions": torch.tensor([start]), "end_positions": torch.tensor([end])}
        total.append(theirs(torch.tensor([row]), **where).loss)
        labels = [4] + [0] * (len(row) - 1)
        labels[start] |= 1
        labels[end] |= 2
        made.append(coder.example(one, range(len(row)), labels, terms=1))
    return torch.stack(total).mean(), made


def test_their_regression_is_ours() -> None:
    theirs = theirs_of("Bert", "classification", labels=1, problem_type="regression")
    checkpoint = checkpoint_of(theirs)
    assert head_of(checkpoint.config) == "regression"
    ours = build(checkpoint)
    coder = coder_of(checkpoint.config)
    wanted = [0.5, -2.0, 3.25]
    expected = [
        theirs(torch.tensor([row]), labels=torch.tensor([value])).loss
        for row, value in zip(ROWS, wanted, strict=True)
    ]
    examples = [
        coder.example(Coded(tuple(row), (), ()), [0], [value])
        for row, value in zip(ROWS, wanted, strict=True)
    ]
    found = pack(examples)
    loss = HEADS.get("regression").loss(
        ours, forward(ours, found), torch.from_numpy(found.labels), torch.from_numpy(found.weights)
    )
    assert loss.total.item() == pytest.approx(sum(one.item() for one in expected), rel=1e-5)


def test_a_class_of_an_architecture_that_is_not_known_is_refused() -> None:
    from tutelage.errors import SourceError

    with pytest.raises(SourceError, match="not supported"):
        spec_for({"architectures": ["FalconForSequenceClassification"]})
