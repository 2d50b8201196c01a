"""The verbs of tokenizers: the contract's objects, pages for people, refusals with their field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage import store
from tutelage.cli.main import run_command
from tutelage.tokenizers.open import open_tokenizer

DOCS = [
    "The iterator returns an object; naïve iterators return None.\n" * 20,
    "A generator is an iterator, and an iterator is an iterable object.\n" * 20,
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"text": DOCS[0]}, {"prompt": "What?", "completion": DOCS[1]}, {"nothing": 1}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def answered(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = run_command([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def training(data: object, out: object, kind: str = "bpe", size: int = 400) -> list[str]:
    return [
        *("tokenizer", "train", "--data", str(data), "--kind", kind),
        *("--vocabulary", str(size), "--out", str(out)),
    ]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_train_answers_and_writes_a_whole_folder(
    kind: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    more = ["--special", "<|im_end|>", "--special", "<|im_start|>", "--sentinels", "3"]
    code, found = answered([*training(rows, out, kind), *more], capsys)
    assert code == 0
    store.verify(out)
    theirs = AutoTokenizer.from_pretrained(out)
    tokenizer = open_tokenizer(str(out))
    assert found["out"] == str(out)
    assert found["vocabulary"] == len(theirs) == tokenizer.vocabulary
    texts = [DOCS[0], f"What?\n{DOCS[1]}"]
    tokens = sum(len(tokenizer.encode_plain(text)) for text in texts)
    assert found["bytes_per_token"] == sum(len(text.encode()) for text in texts) / tokens
    assert (found["texts"], found["set_aside"], found["asked"]) == (2, 1, 400)
    assert theirs.convert_tokens_to_ids("<extra_id_0>") == found["vocabulary"] - 1
    assert tokenizer.id("<|im_end|>") == tokenizer.id("<|im_start|>") - 1


def test_show_gives_ids_spellings_and_the_text_again(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_command(training(rows, out)) == 0
    assert "bytes per token on the 2 texts" in capsys.readouterr().out
    text = "naïve 日本 <|endoftext|> iterators"
    code, found = answered(["tokenizer", "show", str(out), text], capsys)
    assert code == 0
    assert "".join(token["text"] for token in found["tokens"]) == text
    ids = AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    assert [token["id"] for token in found["tokens"]] == ids
    assert {"id": 0, "text": "<|endoftext|>", "token": "<|endoftext|>"} in found["tokens"]
    assert run_command(["tokenizer", "show", str(out), "[bold] x"]) == 0
    assert "'['" in capsys.readouterr().out


def test_show_takes_models_and_unfinished_characters(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = answered(["tokenizer", "show", "preset:llama-tiny", "é!"], capsys)
    assert code == 0
    assert [token["text"] for token in found["tokens"]] == ["", "é", "!"]
    assert [token["id"] for token in found["tokens"]] == list("é!".encode())
    assert answered(["tokenizer", "show", "preset:llama-tiny", ""], capsys) == (0, {"tokens": []})


def test_compare_measures_every_tokenizer_on_every_domain(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other.txt"
    other.write_text("日本語のテキスト\nplain words\n", encoding="utf-8")
    run_command(training(rows, out, "wordpiece"))
    capsys.readouterr()
    asked = ["tokenizer", "compare", str(out), "preset:llama-tiny"]
    asked += ["--data", str(rows), "--data", str(other)]
    code, found = answered(asked, capsys)
    assert code == 0
    pairs = [(fit["domain"], fit["tokenizer"]) for fit in found["fits"]]
    sources = (str(out), "preset:llama-tiny")
    assert pairs == [(domain, one) for domain in (str(rows), str(other)) for one in sources]
    known, _, unknown, in_bytes = found["fits"]
    assert known["unknown"] == 0.0 < unknown["unknown"]
    assert (in_bytes["bytes_per_token"], in_bytes["unknown"]) == (1.0, 0.0)
    assert in_bytes["fallback"] == pytest.approx(24 / 37)
    assert run_command(asked) == 0
    assert "tokens/word" in capsys.readouterr().out


def test_extend_writes_a_tokenizer_or_a_model(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = tmp_path / "domain.txt"
    domain.write_text("Myocardial infarction; the myocardial infarction.\n" * 9, encoding="utf-8")
    asked = ["--data", str(domain), "--tokens", "20", "--out"]
    base, more, model = (tmp_path / name for name in ("base", "more", "model"))
    run_command([*training(rows, base, "unigram"), "--sentinels", "2"])
    capsys.readouterr()
    code, found = answered(["tokenizer", "extend", str(base), *asked, str(more)], capsys)
    assert code == 0
    store.verify(more)
    assert found["vocabulary"] == open_tokenizer(str(base)).vocabulary + found["added"]
    assert found["added"] == len(found["tokens"]) <= 20
    assert found["fertility"]["after"] < found["fertility"]["before"]
    assert found["bytes_per_token"]["after"] > found["bytes_per_token"]["before"]
    assert len(AutoTokenizer.from_pretrained(more)) == found["vocabulary"]
    assert not (more / "config.json").exists()
    assert run_command(["tokenizer", "extend", "preset:llama-tiny", *asked, str(model)]) == 0
    assert "20 new tokens, 279 in all" in capsys.readouterr().out
    theirs = AutoModelForCausalLM.from_pretrained(model)
    assert len(AutoTokenizer.from_pretrained(model)) <= theirs.get_input_embeddings().weight.size(0)


@pytest.mark.parametrize(
    ("change", "field", "got", "expected"),
    [
        (["--kind", "bpp"], "--kind", "bpp", "one of bpe, unigram, wordpiece"),
        (["--vocabulary", "100"], "--vocabulary", "100", "at least 257: 1 control tokens"),
        (["--vocabulary", "many"], "--vocabulary", "many", None),
        (["--data", "nowhere.txt"], "nowhere.txt", None, "a file, a folder"),
        (["--sentinels", "-2"], "--sentinels", "-2", ">= 0"),
        (["--special", "<|endoftext|>"], "--special", "'<|endoftext|>'", "a text other than"),
    ],
)
def test_bad_requests_exit_2_and_leave_nothing(
    change: list[str],
    field: str,
    got: str | None,
    expected: str | None,
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = training(rows, tmp_path / "out")
    if change[0] in asked:
        at = asked.index(change[0])
        asked[at : at + 2] = change
    else:
        asked += change
    code, found = answered(asked, capsys)
    assert code == 2
    error = found["error"]
    assert error["field"] == field
    assert got is None or error["got"] == got
    assert expected is None or expected in error["expected"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_data_without_text_and_a_taken_folder_exit_2(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": " "}\n', encoding="utf-8")
    code, found = answered(training(empty, tmp_path / "out"), capsys)
    assert (code, found["error"]["field"]) == (2, str(empty))
    out = tmp_path / "out"
    run_command(training(rows, out))
    before = (out / "manifest.json").read_bytes()
    capsys.readouterr()
    for asked in (training(rows, out), ["tokenizer", "extend", str(out), "--data", str(rows)]):
        more = ["--tokens", "3", "--out", str(out)] if "extend" in asked else []
        code, found = answered([*asked, *more], capsys)
        assert (code, found["error"]["field"], found["error"]["got"]) == (2, "--out", str(out))
    assert (out / "manifest.json").read_bytes() == before
    for asked in (training(rows, empty / "x"), ["tokenizer", "extend", str(out), "--data", "x"]):
        more = ["--tokens", "3", "--out", str(empty / "x")] if "extend" in asked else []
        code, found = answered([*asked, *more], capsys)
        assert (code, found["error"]["field"]) == (2, "--out"), "a file is no folder"
    assert answered(["tokenizer", "compare", "--data", str(rows)], capsys)[0] == 2
    assert answered(["tokenizer", "show", str(tmp_path / "none"), "x"], capsys)[0] == 2


def test_rows_of_another_shape_are_read_through_templates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "asked.jsonl", tmp_path / "out"
    data.write_text(json.dumps({"question": DOCS[0], "answer": DOCS[1]}), encoding="utf-8")
    templates = ["--prompt", "{question}", "--completion", "{answer}"]
    code, found = answered([*training(data, out), *templates], capsys)
    assert (code, found["bytes"]) == (0, len(f"{DOCS[0]}\n{DOCS[1]}".encode()))
    # An option for several values takes one at a time, so what follows is no part of it.
    asked = ["tokenizer", "compare", "--data", str(data), str(out), *templates]
    assert len(answered(asked, capsys)[1]["fits"]) == 1
    more = ["tokenizer", "extend", "preset:llama-tiny", "--data", str(data), "--tokens", "9"]
    code, found = answered([*more, "--out", str(tmp_path / "more"), *templates], capsys)
    assert (code, found["added"]) == (0, 9)


def test_a_text_too_small_for_the_vocabulary_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.txt"
    small.write_text("the cat sat on the mat", encoding="utf-8")
    assert run_command(training(small, tmp_path / "out", size=8000)) == 0
    page = capsys.readouterr().out
    size = open_tokenizer(str(tmp_path / "out")).vocabulary
    assert f"note: the text yields {size} tokens, not the 8000 asked for" in page


def test_a_changed_folder_is_refused(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run_command(training(rows, out))
    file = out / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace("iterator", "iterat0r", 1))
    capsys.readouterr()
    code, found = answered(["tokenizer", "show", str(out), "x"], capsys)
    assert (code, found["error"]["kind"], found["error"]["field"]) == (1, "damaged", str(file))
