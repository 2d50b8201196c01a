"""`tutelage tune`: what it says of rows and checkpoints, and which flags contradict each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli import tune as verb
from tutelage.cli.main import run_command
from tutelage.data.retention import retention
from tutelage.data.rows import Loaded
from tutelage.errors import DataError

GOOD = [{"prompt": f"say {n}", "completion": f"{n}"} for n in range(6)]
LONG = {"prompt": "say", "completion": "long " * 3000}
MODEL = ["tune", "preset:llama-tiny", "--device", "cpu", "--threads", "1"]


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = run_command([*MODEL, *arguments, "--json"])
    printed = capsys.readouterr()
    return code, json.loads(printed.out), printed.err


def rows(folder: Path, *lines: Any) -> str:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return str(file)


@pytest.mark.parametrize("how", ["--dry-run", "--out"])
def test_rows_set_aside_are_named_whoever_set_them_aside(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *GOOD, "no JSON", LONG)
    rest = ["--dry-run"] if how == "--dry-run" else ["--out", str(tmp_path / "out")]
    code, found, errors = called(capsys, "--data", data, "--steps", "1", "--skip-forgetting", *rest)
    assert code == 0 and found["rows"] == {"used": 6, "set_aside": 2}
    assert [(one["where"].rpartition(":")[2], one["reason"]) for one in found["set_aside"]] == [
        ("7", "bad-json"),
        ("8", "too-long"),
    ]
    for one in found["set_aside"]:
        assert one["where"] in errors and one["reason"] in errors and one["detail"] in errors


@pytest.mark.parametrize("how", ["--dry-run", "--out"])
def test_rows_used_are_those_that_steps_come_to(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *GOOD, GOOD[0], "no JSON")
    few = ["--batch-tokens", "40", "--data", data, "--skip-forgetting"]
    for steps, used in (("2", 4), ("4", 7), ("9", 7)):
        out = str(tmp_path / f"out-{steps}")
        rest = ["--dry-run"] if how == "--dry-run" else ["--out", out]
        code, found, errors = called(capsys, *few, "--steps", steps, *rest)
        assert code == 0 and found["rows"] == {"used": used, "set_aside": 1}
        assert (f"{7 - used} rows are not seen" in errors) == (used < 7)


def test_a_plan_and_its_run_answer_with_the_same_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", rows(tmp_path, *GOOD), "--steps", "2", "--skip-forgetting"]
    _, planned, _ = called(capsys, *given, "--dry-run")
    _, done, _ = called(capsys, *given, "--out", str(tmp_path / "out"))
    assert list(planned) == list(done)
    for same in ("method", "trained_parameters", "trained_tokens", "rows", "settings"):
        assert planned[same] == done[same]
    unknown = {name for name, value in planned.items() if value is None}
    assert unknown == {
        "out", "loss", "seconds", "forgetting", "general", "collapse", "probed_seconds",
        "counted_flops",
    }  # fmt: skip
    assert {name for name, value in done.items() if value is None} == {
        "forgetting", "general", "collapse", "rehearsal", "preview", "correction",
        "probed_seconds",
    }, "of two steps no third is foretold"  # fmt: skip


def test_a_dry_run_shows_rows_as_they_are_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, {"prompt": "say \x1b[2J", "completion": "ab"}, *GOOD)
    assert run_command([*MODEL, "--data", data, "--steps", "1", "--dry-run"]) == 0
    page = capsys.readouterr().out
    assert "GB predicted" in page and "GB measured" in page and "nothing was kept" in page
    assert "|a|b|" in page and "\x1b[2J" not in page, "escape sequences of rows are not obeyed"


def test_out_is_what_help_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--data", rows(tmp_path, *GOOD), "--skip-forgetting", "--out", str(tmp_path / "out")]
    _, first, _ = called(capsys, *given, "--steps", "2")
    code, again, _ = called(capsys, *given, "--steps", "2")
    assert code == 0 and again == first, "it is not done a second time"
    code, other, _ = called(capsys, *given, "--steps", "3")
    assert code == 2 and other["error"]["field"] == "--out"
    assert run_command(["tune", "--help"]) == 0
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "must not exist" not in page
    assert "An unfinished run of the same request goes on, a finished one is returned" in page


def test_twenty_rows_are_named_and_the_rest_counted(capsys: pytest.CaptureFixture[str]) -> None:
    aside = [{"where": f"f:{n}", "reason": "too-long", "detail": "9 tokens"} for n in range(25)]
    assert verb._set_aside(Loaded((), (), 0), aside) == aside
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21 and "f:19:" in lines[19] and "5 more" in lines[20]


def test_strict_stops_at_a_row_that_is_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *GOOD, LONG)
    for rest in (["--dry-run"], ["--out", str(tmp_path / "out")]):
        code, found, _ = called(capsys, "--data", data, "--strict", *rest)
        assert code == 2 and found["error"]["field"].endswith("rows.jsonl:7")
        assert "too-long" in found["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_steps_and_epochs_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *GOOD)
    code, found, _ = called(
        capsys, "--data", data, "--steps", "3", "--epochs", "1", "--out", str(tmp_path / "out")
    )
    assert code == 2 and found["error"]["kind"] == "config"
    assert "--steps" in found["error"]["field"] and "--epochs" in found["error"]["field"]
    assert not (tmp_path / "out").exists()


def test_notes_of_the_work_reach_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.train import state

    resume = state.resume

    def damaged(*given: Any) -> Any:
        given[-1]("step-00000002 is damaged")
        return resume(*given)

    monkeypatch.setattr(state, "resume", damaged)
    code, _, errors = called(
        capsys, "--data", rows(tmp_path, *GOOD), "--steps", "1", "--out", str(tmp_path / "out"),
        "--skip-forgetting",
    )  # fmt: skip
    assert code == 0 and "step-00000002 is damaged" in errors.splitlines()


def test_half_precision_without_loss_scaling_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *GOOD)
    code, found, _ = called(
        capsys, "--data", data, "--out", str(tmp_path / "out"), "--dtype", "fp16"
    )
    assert code == 2 and found["error"]["field"] == "--dtype"
    assert found["error"]["expected"] == "bf16 or fp32"


def test_a_plan_reads_the_rows_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.train import prepare as module

    read: list[int] = []
    examples_of = module.examples_of

    def counted(given: Any, *more: Any, **named: Any) -> Any:
        read.append(len(given))
        return examples_of(given, *more, **named)

    monkeypatch.setattr(module, "examples_of", counted)
    assert called(capsys, "--data", rows(tmp_path, *GOOD), "--dry-run")[0] == 0
    assert read == [len(GOOD)]


@pytest.mark.parametrize("more", [(), ("--method", "prompt-tuning", "--tokens", "90")])
def test_forgetting_is_measured_on_what_the_context_holds(
    more: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The smallest preset has room for some of the retention texts and not for others."""
    data = rows(tmp_path, {"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"})
    out = str(tmp_path / "out")
    code, found, errors = called(capsys, "--data", data, "--steps", "1", "--out", out, *more)
    assert code == 0, errors
    try:
        texts = len(retention().texts)
    except DataError:
        pytest.skip("no text to measure forgetting on")
    assert 0 < found["forgetting"]["n"] < texts


def test_several_tasks_are_mixed_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    first, second = rows(tmp_path, *GOOD), rows(tmp_path / "b", *GOOD[:2])
    asked = ["--data", first, "--data", second, "--dry-run"]
    code, found, _ = called(capsys, *asked, "--cap", "4")
    assert code == 0
    assert [(one["rows"], one["taken"]) for one in found["mixture"]] == [(6, 4), (2, 2)]
    assert found["rows"]["used"] == 6
    code, found, _ = called(capsys, *asked, "--temperature", "1e9")
    assert [one["taken"] for one in found["mixture"]] == [4, 4]
    for wrong in (
        ["--data", first, "--temperature", "2", "--dry-run"],
        [*asked, "--temperature", "0"],
    ):
        code, found, _ = called(capsys, *wrong)
        assert code == 2 and found["error"]["field"] == "--temperature"


def test_replayed_text_is_learned_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = rows(tmp_path, *GOOD)
    code, found, _ = called(
        capsys, "--data", data, "--replay", "builtin:stdlib-docs", "--replay-share", "0.25",
        "--dry-run", "--batch-tokens", "600",
    )  # fmt: skip
    assert code == 0 and found["mixture"][1]["taken"] == 2
    longest = max(found["preview"], key=lambda row: len(row["learned"]))
    assert longest["name"].startswith("replay:") and len(longest["learned"]) > 200
    assert longest["end"] is None
    code, found, _ = called(capsys, "--data", data, "--replay-share", "0.25", "--dry-run")
    assert code == 2 and found["error"]["field"] == "--replay-share"


def test_every_turn_is_learned_where_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = {"messages": [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "one"},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "two"},
    ]}  # fmt: skip
    data = rows(tmp_path, chat)
    _, last, _ = called(capsys, "--data", data, "--dry-run")
    _, each, _ = called(capsys, "--data", data, "--turns", "all", "--dry-run")
    assert (last["trained_tokens"], each["trained_tokens"]) == (4, 8)
    taught = {"".join(row["learned"]) for row in each["preview"]}
    assert taught == {"one", "two"}


def test_several_templates_are_drawn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = rows(tmp_path, *({"x": str(n), "completion": "y"} for n in range(20)))
    _, found, _ = called(
        capsys, "--data", data, "--prompt", "one {x}", "--prompt", "two {x}", "--dry-run"
    )
    assert found["rows"] == {"used": 20, "set_aside": 0}
    code, found, _ = called(
        capsys, "--data", data, "--prompt", "one {x}", "--prompt", "two {z}", "--dry-run"
    )
    assert code == 2 and "z" in found["error"]["message"]


def test_forgetting_is_measured_on_text_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [
        f"The river {n} runs past the old town of stone {n} and on to the sea." for n in range(900)
    ]
    text = "\n\n".join(" ".join(sentences[n : n + 6]) for n in range(0, 900, 6))
    (tmp_path / "own.txt").write_text(text)
    data = rows(tmp_path, *GOOD)
    asked = ["--data", data, "--steps", "1", "--retention"]
    code, found, _ = called(capsys, *asked, str(tmp_path / "own.txt"), "--out", str(tmp_path / "a"))
    assert code == 0 and found["forgetting"]["n"] > 0
    (tmp_path / "few.txt").write_text("Too little.")
    code, found, _ = called(capsys, *asked, str(tmp_path / "few.txt"), "--out", str(tmp_path / "b"))
    assert code == 2 and not (tmp_path / "b").exists()


def test_a_prompt_that_virtual_tokens_leave_no_room_for_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = rows(tmp_path, *GOOD), str(tmp_path / "out")
    more = ["--method", "prompt-tuning", "--tokens", "400", "--steps", "1", "--skip-forgetting"]
    assert called(capsys, "--data", data, "--out", out, *more)[0] == 0
    words = ["generate", "preset:llama-tiny", "word " * 60, "--json", "--max-new-tokens", "2"]
    assert run_command(words) == 0
    capsys.readouterr()
    assert run_command([*words, "--adapter", out]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["expected"] == "1 to 111" and "400 virtual tokens" in error["hint"]
