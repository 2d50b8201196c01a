"""Every kind of bad row, from the command line: set aside by FILE:LINE and reason, counted, refused
by --strict; data from which nothing can be measured is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli.main import run_command
from tutelage.data.told import LISTED, SHOWN

BAD = [
    (b'{"prompt": 5, "completion": "x"}', "wrong-type"),
    (b'{"prompt": "no completion"}', "missing-key"),
    (b'{"prompt": "\xff\xfe", "completion": "x"}', "bad-utf8"),
    (b'{"prompt": "p", "completion": "  "}', "empty-completion"),
    (b'{"id": "r0", "prompt": "again", "completion": "x"}', "duplicate-id"),
    (b"no JSON", "bad-json"),
    (b'{"text": "nothing to answer"}', "no-answer"),
    (b'{"prompt": "' + b"word " * 200 + b'", "completion": "x"}', "too-long"),
]
GOOD = [
    json.dumps({"id": f"r{n}", "prompt": f"after {n}?", "completion": str(n + 1)}).encode()
    for n in range(20)
]
CONTEXTS = {"scripted:script.jsonl": False, "preset:llama-tiny": True}
"""Whether a model has a context that a row can exceed."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "script.jsonl").write_text('{"match": "", "reply": "7"}')
    write(tmp_path / "rows.jsonl", [*GOOD[:3], *(line for line, _ in BAD), *GOOD[3:]])
    return tmp_path


def write(file: Path, lines: list[bytes]) -> None:
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    code = run_command([*map(str, words), "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def project(model: str, data: str = "rows.jsonl") -> Path:
    file = Path("project.toml")
    file.write_text(
        f'name = "p"\n[task]\ndata = "{data}"\nmetric = "exact_match"\n'
        f'[models]\ncandidates = ["{model}"]\n[search]\nrungs = ["zero-shot"]\n'
    )
    return file


def expected(*, context: bool) -> list[tuple[str, str]]:
    found = [(f"rows.jsonl:{line}", reason) for line, (_, reason) in enumerate(BAD, 4)]
    return found if context else found[:-1]


@pytest.mark.parametrize(("model", "context"), CONTEXTS.items())
def test_eval_sets_them_aside_and_the_counts_add_up(
    model: str, context: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--max-new-tokens", 4, "--metric", "exact_match", "--shots", 2, "--limit", 15]
    code, found = asked(capsys, "eval", model, "--data", "rows.jsonl", *short)
    aside = [(one["where"], one["reason"]) for one in found["set_aside_rows"]]
    assert code == 0 and aside == expected(context=context)
    assert found["set_aside"] == {reason: 1 for _, reason in aside}
    rows = found["rows"]
    assert rows.pop("read") == len(GOOD) + len(BAD) == sum(rows.values())
    assert rows == {
        "measured": 15, "examples": 2, "set_aside": len(aside), "unused": 3 + (not context)
    }  # fmt: skip
    assert found["n"] == 15 and found["refused"] == 0


@pytest.mark.parametrize(("model", "context"), CONTEXTS.items())
def test_a_run_records_them(
    model: str, context: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(capsys, "run", project(model), "--threads", 1)[0] == 0
    data = json.loads((folder / "runs/p/record.json").read_text())["detail"]["data"]
    aside = [(Path(one["where"]).name, one["reason"]) for one in data["set_aside_rows"]]
    assert aside == expected(context=context)
    assert data["rows_in"] == data["rows_used"] + sum(data["set_aside"].values()) == 28
    assert all(
        one["where"] in (folder / "runs/p/report.html").read_text()
        for one in data["set_aside_rows"]
    )


def test_tune_gives_the_same_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "preset:llama-tiny", "--data", "rows.jsonl", "--threads", 1, "--dry-run"]
    code, found = asked(capsys, *words)
    aside = [(one["where"], one["reason"]) for one in found["set_aside"]]
    assert code == 0 and aside == expected(context=True)
    assert found["rows"] == {"used": len(GOOD), "set_aside": len(BAD)}


def test_init_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = asked(capsys, "init", "mine", "--data", "rows.jsonl")
    seen = found["data"]
    aside = [(one["where"], one["reason"]) for one in seen["set_aside_rows"]]
    assert code == 0 and aside == expected(context=False)
    assert seen["rows_in"] == seen["rows_used"] + sum(seen["set_aside"].values())


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_strict_stops_at_each(
    line: bytes, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "rows.jsonl", [*GOOD[:3], line, *GOOD[3:]])
    model = "preset:llama-tiny" if reason == "too-long" else "scripted:script.jsonl"
    for words in (
        ["eval", model, "--data", "rows.jsonl", "--max-new-tokens", 4],
        ["run", project(model), "--threads", 1],
        ["tune", "preset:llama-tiny", "--data", "rows.jsonl", "--threads", 1, "--dry-run"],
    ):
        code, found = asked(capsys, *words, "--strict")
        assert code == 2 and reason in found["error"]["message"]
        assert found["error"]["field"].endswith("rows.jsonl:4")


@pytest.mark.parametrize("verb", ["eval", "init"])
def test_people_are_shown_the_first_of_each_reason(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [b"no JSON"] * (LISTED + 20)
    write(folder / "rows.jsonl", [*GOOD, *many, BAD[0][0], rb'{"\u001b[31m": 1}'])
    words = [verb, "scripted:script.jsonl" if verb == "eval" else "mine", "--data", "rows.jsonl"]
    assert run_command([*words, "--quiet"]) == 0
    page = capsys.readouterr().out
    assert f"{LISTED + 20} bad-json: not one strict JSON value" in page
    assert page.count("Expecting value") == SHOWN
    assert "rows.jsonl:21: Expecting value" in page and f"and {LISTED + 20 - SHOWN} more" in page
    assert f"rows.jsonl:{20 + LISTED + 21}: 'prompt' is a number, not a text" in page
    assert "\x1b" not in page and "its fields are \\x1b[31m" in page
    (folder / "mine/project.toml").unlink(missing_ok=True)
    _, found = asked(capsys, *words)
    found = found.get("data", found)
    assert found["set_aside"]["bad-json"] == LISTED + 20
    assert len(found["set_aside_rows"]) == LISTED + 2


def test_too_few_rows_say_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "rows.jsonl", [GOOD[0], GOOD[1], b"no JSON", BAD[-1][0]])
    words = ["eval", "preset:llama-tiny", "--data", "rows.jsonl", "--max-new-tokens", 4]
    code, found = asked(capsys, *words, "--shots", 1)
    assert code == 2 and "too few rows" in found["error"]["message"]
    assert found["error"]["got"] == (
        "1 of 4 rows read; 1 shown as examples; set aside: 1 bad-json, 1 too-long"
    )
    assert "rows.jsonl:3" in found["error"]["hint"]
    write(folder / "rows.jsonl", [GOOD[0], GOOD[1], b"no JSON"])
    code, found = asked(capsys, "run", project("scripted:script.jsonl"))
    assert code == 2 and "3 rows read; set aside: 1 bad-json" in found["error"]["got"]


def test_examples_of_their_own_are_told_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "more.jsonl", [GOOD[0], b"no JSON"])
    words = ["eval", "scripted:script.jsonl", "--data", "rows.jsonl", "--examples", "more.jsonl"]
    _, found = asked(capsys, *words, "--shots", 1)
    assert found["rows"]["examples"] == 0 and found["n"] == len(GOOD) + 1
    assert any("more.jsonl:2" in note and "1 bad-json" in note for note in found["notes"])


@pytest.mark.parametrize(
    "words", [["eval", "scripted:script.jsonl", "--data"], ["init", "m", "--data"]]
)
def test_data_that_cannot_be_read_is_named(
    words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b"\n".join(GOOD))[:60])
    (folder / "empty").mkdir()
    for name in ("empty.jsonl", "cut.jsonl.gz", "empty", "nowhere.jsonl"):
        code, found = asked(capsys, *words, name)
        assert code == 2 and name in found["error"]["field"], name


def test_a_split_that_cannot_be_made_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": str(n), "completion": "x", "source": "one.py"} for n in range(9)]
    write(folder / "module.jsonl", [json.dumps(row).encode() for row in rows])
    code, found = asked(capsys, "run", project("scripted:script.jsonl", "module.jsonl"))
    assert code == 2 and found["error"]["field"].endswith("module.jsonl")
    assert "all of 'one.py'" in found["error"]["got"]
    file = project("scripted:script.jsonl")
    write(folder / "test.jsonl", GOOD[:2])
    file.write_text(file.read_text().replace("data =", 'test = "test.jsonl"\ntrain ='))
    code, found = asked(capsys, "run", file)
    assert code == 2 and found["error"]["message"] == "no test rows are left"
    assert "2 contaminated" in found["error"]["got"] and "test.jsonl:2" in found["error"]["hint"]
