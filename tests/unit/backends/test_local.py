"""A local model behind the seam: streams, stop texts, limits, few-shot turns, adapters."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.checkpoints.programs import published
from tests.unit.checkpoints.tiny import save_tiny
from tests.unit.train.rows import config, tuned
from tutelage.backends.local import LocalLM
from tutelage.backends.open import open_lm
from tutelage.backends.stream import AnswerStream, overlap
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import ConfigError, DamagedError, GuardError, RequestError, SourceError
from tutelage.generate.job import Token
from tutelage.lm import Completion, Message, Piece, Request, Sampling, complete
from tutelage.peft.actions import lora as actions
from tutelage.text.byte_level import byte_tokenizer

SOURCE = "preset:llama-tiny"
USER = (Message("user", "Hello there"),)


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return LocalLM.open(SOURCE, device="cpu", dtype="fp32", threads=1)


class Scripted:
    """An engine that says what it is told, a token an event, all jobs in turn."""

    loop = None

    def __init__(self, answers: list[list[int]]) -> None:
        self.answers = answers
        self.spoken: list[int] = []

    def run(self, jobs: list[Any], stopped: set[int]) -> Any:
        waiting = [list(answer) for answer in self.answers]
        self.spoken = [0] * len(jobs)
        open_jobs = list(range(len(jobs)))
        while open_jobs:
            for index in list(open_jobs):
                if index in stopped:
                    open_jobs.remove(index)
                    yield Token(index, None, "cancelled")
                    continue
                token = waiting[index].pop(0)
                self.spoken[index] += 1
                last = not waiting[index]
                if last:
                    open_jobs.remove(index)
                yield Token(index, token, "length" if last else None)


def said(
    lm: LocalLM, texts: list[str], stop: tuple[str, ...]
) -> tuple[list[str], list[Completion]]:
    """What is streamed and completed when the model says these texts byte by byte."""
    pieces = [""] * len(texts)
    done: list[Completion] = []
    engine = Scripted([list(text.encode()) for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm, "engine", engine)
        for event in lm.generate([Request("x", 999, stop=stop)] * len(texts)):
            if isinstance(event, Piece):
                assert event.text, "no empty pieces"
                assert event.index not in [c.index for c in done]
                pieces[event.index] += event.text
            else:
                done.append(event)
    assert sorted(c.index for c in done) == list(range(len(texts)))
    return pieces, sorted(done, key=lambda c: c.index)


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", (" two",), "one"),
        ("one two three", ("three", "two"), "one "),
        ("aaab", ("aab",), "a"),
        ("abcabd", ("abd",), "abc"),
        ("ababac", ("abac",), "ab"),
        ("é à la", ("à",), "é "),
        ("日本語です", ("語",), "日本"),
        ("stop", ("stop",), ""),
        ("no such text", ("absent", "abs"), "no such text"),
        ("ends in a part of st", ("stop",), "ends in a part of st"),
        ("\n\nUser: x", ("\nUser:",), "\n"),
    ],
)
def test_stop_texts(lm: LocalLM, text: str, stop: tuple[str, ...], expected: str) -> None:
    pieces, (done,) = said(lm, [text], stop)
    assert done.text == pieces[0] == expected
    assert done.finish_reason == ("stop" if expected != text else "length")
    assert done.completion_tokens == len(done.tokens) <= len(text.encode())
    assert bytes(done.tokens) == text.encode()[: len(done.tokens)]


def test_random_stop_texts_against_cutting_afterwards(lm: LocalLM) -> None:
    """Of letters so few that beginnings overlap: the stream never shows what it must take back."""
    drawn = random.Random(5)
    for _ in range(150):
        texts = ["".join(drawn.choices("ab", k=drawn.randrange(1, 25))) for _ in range(3)]
        stop = tuple(
            "".join(drawn.choices("ab", k=drawn.randrange(2, 6)))
            for _ in range(drawn.randrange(1, 3))
        )
        pieces, done = said(lm, texts, stop)
        for text, piece, completion in zip(texts, pieces, done, strict=True):
            assert completion.text == piece == cut(text, stop), (text, stop)


def cut(text: str, stop: tuple[str, ...]) -> str:
    """A stop text counts from the moment it is complete; of those complete then, the first."""
    for end in range(1, len(text) + 1):
        found = [text[:end].find(s) for s in stop if s in text[:end]]
        if found:
            return text[: min(found)]
    return text


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_where_an_answer_stops_does_not_depend_on_its_tokens(size: int) -> None:
    """The stop text that is complete first counts, whether text comes by letters or in lumps."""
    drawn = random.Random(size)
    for _ in range(200):
        text = "".join(drawn.choices("ab", k=14))
        stop = tuple("".join(drawn.choices("ab", k=drawn.randrange(1, 6))) for _ in range(2))
        stream = AnswerStream(0, 1, stop, Lumps([text[i : i + size] for i in range(0, 14, size)]))
        shown = ""
        for token in range(-(-14 // size)):
            if not stream.finished:
                shown += "".join(piece.text for piece in stream.push(token))
        *pieces, completion = stream.end("length")
        shown += "".join(piece.text for piece in pieces)
        assert shown == completion.text == cut(text, stop), (text, stop)


class Lumps:
    """A tokenizer whose token i is the i-th lump of a text."""

    def __init__(self, lumps: list[str]) -> None:
        self.lumps = lumps

    def decoder(self) -> Lumps:
        return self

    def push(self, token: int) -> str:
        return self.lumps[token]

    def flush(self) -> str:
        return ""


def test_a_stopped_answer_stops_the_engine(lm: LocalLM) -> None:
    engine = Scripted([list(b"yes. and much more that nobody reads"), list(b"no stop at all here")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm, "engine", engine)
        done = complete(lm, [Request("x", 99, stop=(".",))] * 2)
    assert [c.text for c in done] == ["yes", "no stop at all here"]
    assert engine.spoken[0] <= len("yes.") + 1


def test_the_longestoverlap() -> None:
    for text in ("aab", "abab", "a", ""):
        for stop in ("abc", "ab", "babc", "x"):
            ends = [n for n in range(len(stop)) if text.endswith(stop[:n]) and n <= len(text)]
            assert overlap(text, stop) == max(ends)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_pieces_concatenate_to_the_text(lm: LocalLM, temperature: float) -> None:
    """A random model says bytes that are no UTF-8 too; control tokens have no text."""
    requests = [
        Request(prompt, 40, Sampling(temperature, seed=i))
        for i, prompt in enumerate([USER, "raw text", (Message("user", "é" * 9),), "x"])
    ]
    pieces = [""] * 4
    done: dict[int, Completion] = {}
    for event in lm.generate(requests):
        if isinstance(event, Piece):
            pieces[event.index] += event.text
        else:
            done[event.index] = event
    for index, request in enumerate(requests):
        completion = done[index]
        assert completion.text == pieces[index]
        assert completion.prompt_tokens == lm.count_tokens(request.prompt)
        assert completion.completion_tokens == len(completion.tokens)
        assert (completion.finish_reason == "length") == (len(completion.tokens) == 40)


def test_events_of_interleaved_readers_do_not_mix(lm: LocalLM) -> None:
    requests = [Request("first", 12), Request("second prompt", 9)]
    expected = [complete(lm, [request])[0].text for request in requests]
    readers = [lm.generate([request]) for request in requests]
    texts = ["", ""]
    while any(readers):
        for i, reader in enumerate(readers):
            event = next(reader, None) if reader is not None else None
            if event is None:
                readers[i] = None  # type: ignore[call-overload]
            elif isinstance(event, Piece):
                texts[i] += event.text
    assert texts == expected


def test_cancelling_ends_one_and_leaves_the_other(lm: LocalLM) -> None:
    requests = [Request("one", 30), Request("two", 30)]
    whole = complete(lm, requests)
    seen = [0, 0]

    def cancelled(index: int) -> bool:
        seen[index] += 1
        return index == 0 and seen[0] >= 3

    events = list(lm.generate(requests, cancelled))
    done = {e.index: e for e in events if isinstance(e, Completion)}
    assert done[0].finish_reason == "cancelled"
    # It is asked before the first step too: whoever left while waiting is not read at all.
    assert done[0].tokens == whole[0].tokens[:2]
    assert done[1] == whole[1]


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_made(lm: LocalLM) -> None:
    context = lm.capabilities().context
    assert context == 512
    fits = Request("x" * 511, 8)
    too_long = Request("x" * 512, 8)
    assert complete(lm, [fits])[0].completion_tokens == 1, "one token is left of the context"
    with pytest.raises(RequestError) as caught:
        next(lm.generate([fits, too_long]))
    assert caught.value.field == "prompt 1"
    assert caught.value.got == "512 tokens"
    with pytest.raises(RequestError, match="empty"):
        next(lm.generate([Request("", 8)]))


def test_tokens_are_counted_as_the_model_sees_them(lm: LocalLM) -> None:
    assert lm.count_tokens("abc") == 3
    rendered = "<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n"
    assert lm.count_tokens(USER) == len(byte_tokenizer().encode(rendered))


def test_scores_are_of_the_continuation_alone(lm: LocalLM) -> None:
    parts = lm.score([("ab", "c"), ("abc", "de"), ("ab", "cde")])
    assert parts[2].log_probability == pytest.approx(
        parts[0].log_probability + parts[1].log_probability, abs=1e-4
    )
    assert [p.tokens for p in parts] == [1, 2, 3]
    (answer,) = complete(lm, [Request("ab", 6)])
    if answer.finish_reason == "length" and answer.text.encode() == bytes(answer.tokens):
        assert lm.score([("ab", answer.text)])[0].greedy
    for pair in (("", "x"), ("x", "")):
        with pytest.raises(RequestError, match="nothing to score"):
            lm.score([pair])
    with pytest.raises(RequestError, match="context"):
        lm.score([("x" * 300, "y" * 300)])


def test_exact_answers_are_the_same_in_any_company() -> None:
    exact = LocalLM.open(SOURCE, device="cpu", exact=True, threads=1)
    requests = [Request(text, 12, Sampling(0.9, seed=7)) for text in ("a", "bcd" * 9, "e")]
    together = complete(exact, requests)
    alone = [complete(exact, [request])[0] for request in requests]
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    pairs = [("a", "xyz"), ("bcd" * 9, "q"), ("a", "b")]
    assert exact.score(pairs) == [exact.score([pair])[0] for pair in pairs]


def test_a_model_without_a_bound_takes_any_length() -> None:
    """Relative positions end nowhere: such a configuration names no context."""
    free = LocalLM.open(SOURCE, device="cpu", dtype="fp32", threads=1)
    free.reading = replace(free.reading, context=None)
    assert free.capabilities().context is None
    (done,) = complete(free, [Request("x" * 600, 4)])
    assert done.prompt_tokens == 600 and done.completion_tokens > 0
    with pytest.raises(RequestError, match="empty"):
        complete(free, [Request("", 4)])


def test_no_embeddings_are_promised(lm: LocalLM) -> None:
    assert not lm.capabilities().embed
    with pytest.raises(RequestError, match="no embeddings"):
        lm.embed(["x"])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained hard, so that it answers differently."""
    out = tmp_path_factory.mktemp("adapter") / "out"
    tuned(out, config(steps=25, learning_rate=0.02))
    return out


def test_an_adapter_gives_the_tuned_text(lm: LocalLM, adapter: Path, tmp_path: Path) -> None:
    requests = [Request((Message("user", "Backwards: red"),), 8)]
    plain = complete(lm, requests)[0].text
    attached = LocalLM.open(SOURCE, adapter=adapter, device="cpu", dtype="fp32", threads=1)
    expected = complete(attached, requests)[0].text
    assert expected != plain
    beside = build(lm.checkpoint)
    actions.read(beside, lm.checkpoint, adapter)  # not merged: W x and the update apart
    assert complete(LocalLM(lm.checkpoint, beside), requests)[0].text == expected
    model = published(tmp_path / "run", base=SOURCE, adapter="adapter")
    (model / "adapter").symlink_to(adapter, target_is_directory=True)
    through = open_lm(str(model), device="cpu", dtype="fp32", threads=1)
    assert complete(through, requests)[0].text == expected
    with pytest.raises(ConfigError, match="an adapter of its own") as caught:
        open_lm(str(model), adapter=adapter, device="cpu", dtype="fp32", threads=1)
    assert caught.value.field == "--adapter" and SOURCE in str(caught.value.hint)


def test_a_program_puts_its_turns_before_every_conversation(lm: LocalLM, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
    folder = published(tmp_path / "few", base=SOURCE, messages=turns)
    few = open_lm(str(folder), device="cpu", dtype="fp32", threads=1)
    before = tuple(Message(t["role"], t["content"]) for t in turns)  # type: ignore[arg-type]
    assert few.count_tokens(USER) == lm.count_tokens((*before, *USER))
    assert few.count_tokens("raw") == 3, "a raw prompt is given as it is"
    assert complete(few, [Request(USER, 9)]) == complete(lm, [Request((*before, *USER), 9)])
    assert few.score([(USER, "x")]) == lm.score([((*before, *USER), "x")])


def test_another_base_than_it_was_made_from_is_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "run", base=SOURCE, fingerprint="0" * 64)
    with pytest.raises(GuardError) as caught:
        open_lm(str(folder), device="cpu", dtype="fp32", threads=1)
    assert caught.value.expected == "0" * 64
    right = published(
        tmp_path / "right", base=SOURCE, fingerprint=open_checkpoint(SOURCE).fingerprint
    )
    open_lm(str(right), device="cpu", dtype="fp32", threads=1)


def test_random_weights_are_made_from_the_seed_of_the_run(tmp_path: Path) -> None:
    """Also where the answer is drawn from another seed."""
    of_run = open_checkpoint(SOURCE, seed=7).fingerprint
    folder = str(published(tmp_path / "run", base=SOURCE, fingerprint=of_run, seed=7))
    assert open_checkpoint(folder, seed=3).fingerprint == of_run
    opened = open_lm(folder, device="cpu", dtype="fp32", threads=1, seed=3)
    expected = LocalLM.open(SOURCE, device="cpu", dtype="fp32", threads=1, seed=7)
    assert complete(opened, [Request(USER, 9)]) == complete(expected, [Request(USER, 9)])


def test_a_fully_tuned_folder_opens_as_a_plain_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    tuned(out, config(method="full", steps=2))
    opened = LocalLM.open(str(out), device="cpu", dtype="fp32", threads=1)
    assert complete(opened, [Request(USER, 5)])[0].completion_tokens > 0


def test_an_adapter_of_another_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    """The same shapes from another seed; a saved copy of the base is the base."""
    where: Any = {"adapter": adapter, "device": "cpu", "dtype": "fp32", "threads": 1}
    with pytest.raises(SourceError, match="another model") as caught:
        LocalLM.open(SOURCE, seed=1, **where)
    assert "--seed 1" in str(caught.value.got) and "--seed 0" in str(caught.value.expected)
    save_folder(None, open_checkpoint(SOURCE), tmp_path / "saved")
    copy, base = (LocalLM.open(s, **where) for s in (str(tmp_path / "saved"), SOURCE))
    assert complete(copy, [Request(USER, 9)]) == complete(base, [Request(USER, 9)])


def test_an_adapter_of_another_shape_is_refused(tmp_path: Path, adapter: Path) -> None:
    other = save_tiny(tmp_path / "other")
    with pytest.raises(SourceError):
        LocalLM.open(str(other), adapter=adapter, device="cpu", dtype="fp32", threads=1)


def test_a_damaged_adapter_is_named(tmp_path: Path, adapter: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    file = copy / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DamagedError, match=r"adapter_model\.safetensors"):
        LocalLM.open(SOURCE, adapter=copy, device="cpu", dtype="fp32", threads=1)


def test_a_saved_folder_answers_as_its_source(lm: LocalLM, tmp_path: Path) -> None:
    save_folder(None, open_checkpoint(SOURCE), tmp_path / "saved")
    saved = LocalLM.open(str(tmp_path / "saved"), device="cpu", dtype="fp32", threads=1)
    requests = [Request(USER, 12), Request("raw", 12)]
    assert complete(saved, requests) == complete(lm, requests)
