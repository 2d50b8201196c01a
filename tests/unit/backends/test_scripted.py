"""The scripted model: which rule answers, how an answer ends, and what a bad script is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.backends.scripted import ScriptedLM
from tutelage.errors import RequestError, SourceError, WorkError
from tutelage.lm import Completion, Message, Piece, Request, complete


def script(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "script.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def lm(tmp_path: Path) -> ScriptedLM:
    return ScriptedLM.open(
        script(
            tmp_path,
            '{"match": "capital.*France", "reply": "Paris, of course."}',
            "",
            '{"match": "capital", "reply": "one  two\\nthree "}',
            '{"match": "^silence$", "reply": ""}',
        )
    )


def test_the_first_rule_that_is_found_answers(lm: ScriptedLM) -> None:
    answers = complete(lm, [Request("the capital of\nFrance"), Request("a capital idea")])
    assert [a.text for a in answers] == ["Paris, of course.", "one  two\nthree "]
    assert [a.finish_reason for a in answers] == ["stop", "stop"]
    assert [a.completion_tokens for a in answers] == [3, 3]
    assert [a.prompt_tokens for a in answers] == [4, 3]


def test_all_turns_are_searched(lm: ScriptedLM) -> None:
    prompt = (Message("system", "the capital of"), Message("user", "France"))
    assert complete(lm, [Request(prompt)])[0].text == "Paris, of course."


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_pieces_add_up_to_the_answer_at_every_limit(lm: ScriptedLM, limit: int) -> None:
    events = list(lm.generate([Request("capital", max_new_tokens=limit)]))
    done = events[-1]
    assert isinstance(done, Completion)
    assert "".join(e.text for e in events if isinstance(e, Piece)) == done.text
    assert done.finish_reason == ("stop" if limit >= 3 else "length")
    assert done.completion_tokens == min(limit, 3)


def test_the_earliest_stop_text_ends_the_answer_and_is_left_out(lm: ScriptedLM) -> None:
    request = Request("capital of France", stop=("course", ","))
    assert complete(lm, [request])[0].text == "Paris"
    assert complete(lm, [request])[0].finish_reason == "stop"


def test_an_empty_reply_is_an_answer(lm: ScriptedLM) -> None:
    assert complete(lm, [Request("silence")])[0] == Completion(0, "", "stop", 1, 0)


def test_cancelling_ends_one_request_and_not_the_other(lm: ScriptedLM) -> None:
    events = list(lm.generate([Request("capital"), Request("capital")], lambda i: i == 0))
    done = {e.index: e for e in events if isinstance(e, Completion)}
    assert (done[0].finish_reason, done[0].text) == ("cancelled", "")
    assert done[1].finish_reason == "stop"


def test_a_prompt_without_a_rule_is_named(lm: ScriptedLM) -> None:
    with pytest.raises(WorkError) as caught:
        complete(lm, [Request("unheard of " * 20)])
    assert "unheard of" in str(caught.value) and len(str(caught.value)) < 500


def test_it_says_what_it_cannot_do(lm: ScriptedLM) -> None:
    capabilities = lm.capabilities()
    assert not capabilities.score and not capabilities.embed
    with pytest.raises(RequestError):
        lm.score([("a", "b")])
    with pytest.raises(RequestError):
        lm.embed(["a"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a"]', "not an object"),
        ('{"match": "a", "replay": "b"}', "did you mean 'reply'"),
        ('{"match": "a"}', "'reply' must be a text"),
        ('{"match": 1, "reply": "b"}', "'match' must be a text"),
        ('{"match": "(", "reply": "b"}', "not a regular expression"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = script(tmp_path, '{"match": "a", "reply": "b"}', line)
    with pytest.raises(SourceError) as caught:
        ScriptedLM.open(path)
    assert caught.value.field == f"{path}:2"
    assert words in str(caught.value)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for path in (empty, binary, tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError) as caught:
            ScriptedLM.open(path)
        assert caught.value.field == str(path)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, tutelage.backends.scripted; "
        "sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
