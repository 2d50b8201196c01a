"""A model without a chat template: trained, evaluated and served in the one written-out form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.train.rows import SOURCE, rows_of
from tutelage import store
from tutelage.backends.local import LocalLM
from tutelage.backends.turns import TurnsBefore
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.data.rows import Row
from tutelage.errors import RequestError
from tutelage.evaluate.lengths import row_length
from tutelage.evaluate.tasks import items_of
from tutelage.generate.job import Token
from tutelage.lm import LM, Message, Piece, Request, complete
from tutelage.text.render import Renderer

TURNS = (Message("user", "Backwards: on"), Message("assistant", "no"))


class Answering:
    """An engine that notes the ids it is given and says the bytes of one text to each."""

    loop = None

    def __init__(self, text: str = "x") -> None:
        self.text = text
        self.read: list[list[int]] = []

    def run(self, jobs: list[Any], stopped: set[int]) -> Any:
        self.read += [list(job.prompt) for job in jobs]
        for index in range(len(jobs)):
            for at, byte in enumerate(self.text.encode(), 1):
                yield Token(index, byte, "length" if at == len(self.text) else None)
                if index in stopped:
                    yield Token(index, None, "cancelled")
                    break


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """preset:llama-tiny as a folder, its template taken away."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    save_folder(None, open_checkpoint(SOURCE), folder)
    config = store.read_json(folder / "tokenizer_config.json")
    del config["chat_template"]
    (folder / store.MANIFEST).unlink()  # a folder from elsewhere has none
    store.write_json(folder / "tokenizer_config.json", config)
    return folder


@pytest.fixture
def lm(folder: Path) -> LocalLM:
    opened = LocalLM.open(str(folder), device="cpu", dtype="fp32", threads=1)
    assert not opened.capabilities().chat
    return opened


def read(lm: LocalLM, prompts: list[Any], asked: LM | None = None) -> list[list[int]]:
    """What the model reads when it, or what stands before it, is asked."""
    engine = Answering()
    lm.engine = engine  # type: ignore[assignment]
    complete(asked or lm, [Request(prompt, 1) for prompt in prompts])
    return engine.read


def test_what_is_trained_is_what_is_evaluated_and_served(lm: LocalLM, folder: Path) -> None:
    rows = rows_of(3)
    renderer = Renderer(open_checkpoint(str(folder)).tokenizer)
    trained_after = [renderer.example_ids(row.messages, row.completion or "")[0] for row in rows]
    served = read(lm, [row.messages for row in rows])
    evaluated = read(lm, [item.prompt for item in items_of(rows)])
    assert trained_after == served == evaluated
    assert bytes(trained_after[0]) == b"Input: Backwards: red\nOutput:"


def test_shown_examples_are_read_as_the_turns_of_a_run_are(lm: LocalLM) -> None:
    row = rows_of(1)[0]
    shown = Row("s", "f:1", TURNS[:1], TURNS[1].content).example()
    (as_examples,) = read(lm, [items_of([row], [shown])[0].prompt])
    few = TurnsBefore(lm, TURNS)
    as_turns, bare = read(lm, [row.messages, "bare"], few)
    assert as_examples == as_turns
    assert bytes(as_turns) == (
        b"Input: Backwards: on\nOutput: no\n\nInput: Backwards: red\nOutput:"
    )
    assert bytes(bare) == b"bare", "raw text is given without the turns"


@pytest.mark.parametrize(
    ("said", "expected"),
    [(" der", "der"), ("der", "der"), ("  der", " der"), (" der\n\nInput: more", "der"), (" ", "")],
)
def test_the_answers_text_is_what_was_trained(lm: LocalLM, said: str, expected: str) -> None:
    lm.engine = Answering(said)  # type: ignore[assignment]
    row = rows_of(1)[0]
    events = list(lm.generate([Request(row.messages, 99)]))
    assert events[-1].text == expected
    assert "".join(event.text for event in events if isinstance(event, Piece)) == expected
    (raw,) = complete(lm, [Request("bare", 99)])
    assert raw.text == said


def test_a_score_is_of_the_tokens_that_are_trained(lm: LocalLM) -> None:
    row = rows_of(1)[0]
    prompt, trained = lm.renderer.example_ids(row.messages, "der")
    text = bytes(prompt).decode()
    assert bytes(trained[:-1]) == b" der"
    assert lm.score([(row.messages, "der")]) == lm.score([(text, " der")])
    with pytest.raises(RequestError, match="nothing to score"):
        lm.score([(row.messages, "")])
    assert row_length(lm, row) == len(prompt) + len(trained)
