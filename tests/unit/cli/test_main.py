"""The frame: one JSON object, exit codes, errors for people and programs, a protected stdout."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli import doctor, main
from tutelage.cli.main import GROUPS, VERBS, build_app, run_command
from tutelage.cli.shared import Shared, answer
from tutelage.errors import BusyError, ConfigError, GuardError, Interrupted, RequestError
from tutelage.models.catalogue import find_preset

MEMORY = ["plan", "memory", "--params", "1e9"]
DASHED = "see --help; a text that begins with - stands after --"
ERROR_KEYS = {"kind", "message", "field", "got", "expected", "hint"}


def tutelage(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tutelage", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


def in_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and the one object on stdout."""
    code = run_command([*arguments, "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return code, json.loads(lines[0], parse_constant=pytest.fail)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put another function in the place of `doctor`."""

    def replace(body: Callable[[Shared], Any]) -> None:
        def doctor(*, shared: Shared | None = None) -> Any:
            return body(shared or Shared())

        doctor.__annotations__ = {"shared": Shared | None}
        doctor.__module__ = "tutelage.cli.doctor"
        monkeypatch.setattr("tutelage.cli.doctor.doctor", doctor)

    return replace


def raises(error: BaseException) -> Callable[[Shared], Any]:
    def body(shared: Shared) -> Any:
        raise error

    return body


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "memory", "--help"], ["--version"]])
def test_help_is_light(arguments: list[str]) -> None:
    code = (
        "import sys; from tutelage.cli.main import run_command\n"
        f"code = run_command({arguments!r})\n"
        "heavy = {'torch', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert code == 0 and not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


HEAVY = {"torch", "pydantic", "numpy", "transformers", "matplotlib", "tutelage.lm"}
SLOW = {"importlib.metadata", "subprocess", "email", "tokenizers"}
"""What a plan of a preset could do without, and once did not."""
PLANS = (
    "memory --params 1e9",
    "memory --model preset:gpt3-175b",
    "memory --model preset:llama3-8b --train",
    "parameters --table course",
    "compute --model preset:llama-7b --tokens 1e12 --device a100",
    "compute --params 1e9 --tokens 2e10",
    "scaling --params 70e9 --known",
    "parallel --params 7e9 --devices 8 --device a100",
    "activations --model preset:bert-base",
    "peft --model preset:mixtral-8x7b --method lora",
    "method --model preset:gpt2",
)


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.parametrize("plan", [*PLANS, "formats 3.14"])
def test_a_plan_imports_nothing_it_does_not_need(plan: str, form: str) -> None:
    """Its answer is arithmetic, its page plain lines; the drawing of `formats` alone has colours.
    No configuration of a preset is read by pydantic, no tokenizer made."""
    drawn = set() if plan.startswith("formats") and not form else {"rich.console"}
    unwanted = HEAVY | drawn | SLOW
    code = (
        "import sys; from tutelage.cli.main import run_command\n"
        f"code = run_command({['plan', *plan.split(), *form.split()]!r})\n"
        f"found = {unwanted!r} & set(sys.modules)\n"
        "assert code == 0 and not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_plan_of_a_folder_opens_its_configuration_alone(tmp_path: Path) -> None:
    """Neither weights nor a tokenizer need to be there."""
    (tmp_path / "config.json").write_text(json.dumps(dict(find_preset("llama-7b"))))
    code = (
        "import sys; from tutelage.cli.main import run_command\n"
        f"code = run_command(['plan', 'parameters', '--model', {str(tmp_path)!r}, '--json'])\n"
        "found = {'torch', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert code == 0 and not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] == 6_738_415_616


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([]) == 0
    page = capsys.readouterr().out
    for name in (*main.VERBS, *main.GROUPS):
        assert f" {name} " in page, name


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["chat"], "Ctrl-C stops an answer"),
        (["serve"], "then runs until SIGTERM"),
        (["generate"], "as one user message, after the few-shot turns of a run"),
        (["model", "pull"], "which any tool opens"),
    ],
)
def test_the_help_of_a_verb_is_all_it_has_to_say(
    verb: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its summary on the first page is only its beginning; lines are filled, not broken twice."""
    monkeypatch.setenv("COLUMNS", "60")
    assert run_command([*verb, "--help"]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["--json", "--version"]):
        assert run_command(arguments) == 0
        assert platform.python_version() in capsys.readouterr().out
    code, found = in_json(["--version"], capsys)
    assert code == 0
    assert list(found) == ["tutelage", "python", "torch", "commit"]
    assert found["torch"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*MEMORY, "--json"],
        ["--json", *MEMORY],
        ["--quiet", "--json", *MEMORY],
        ["plan", "memory", "--json", "--params=1e9"],
        ["plan", "memory", "--json", "--params", "1e9", "--seed=3", "--threads", "2"],
    ],
)
def test_options_stand_anywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(arguments) == 0
    assert json.loads(capsys.readouterr().out)["total_bytes"] == 4 * 10**9


def test_shared_options_reach_the_verb(verb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    verb(lambda shared: vars(shared))
    given = ["--device", "cpu", "--dtype=bf16", "--exact", "--seed", "7", "--threads", "2"]
    _, found = in_json(["doctor", *given], capsys)
    assert found == {
        "json": True,
        "device": "cpu",
        "dtype": "bf16",
        "exact": True,
        "seed": 7,
        "threads": 2,
        "quiet": False,
    }


@pytest.mark.parametrize(
    ("arguments", "field", "got", "hint"),
    [
        (["modle"], None, "modle", "did you mean 'model'?"),
        (["plan", "memry"], None, "memry", "did you mean 'memory'?"),
        ([*MEMORY, "--trian"], "--trian", None, "did you mean --train?"),
        ([*MEMORY, "--batch", "x"], "--batch", "x", "see --help"),
        ([*MEMORY, "--device", "gpu"], "--device", "gpu", None),
        ([*MEMORY, "--threads", "0"], "--threads", "0", None),
        ([*MEMORY, "--seed", "-1"], "--seed", "-1", None),
        ([*MEMORY, "more"], None, "more", "see --help"),
        (["model", "show"], "--source", None, "see --help"),
        (["generate", "m", "-5 + 3?"], None, None, DASHED),
        (["generate", "m", "--what?"], "--what", None, DASHED),
        ([], None, None, "see --help"),
        (["plan"], None, None, "see --help"),
    ],
)
def test_wrong_requests_exit_2(
    arguments: list[str],
    field: str | None,
    got: str | None,
    hint: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, found = in_json(arguments, capsys)
    assert code == 2
    assert set(found) == {"error"} and set(found["error"]) == ERROR_KEYS
    assert found["error"]["kind"] == "config"
    assert (found["error"]["field"], found["error"]["got"]) == (field, got)
    assert hint is None or found["error"]["hint"] == hint


@pytest.mark.parametrize(
    ("arguments", "field", "got"),
    [
        (["plan", "memory", "--params", "1\udcff"], "--params", r"1\xff"),
        (["plan", "memory", "--params=1\udcff"], "--params", r"--params=1\xff"),
        (["--json", "plan", "m\udcc3"], None, r"m\xc3"),
        (["\ud800"], None, r"\ud800"),
        (["doctor", "--", "\udc80 = é"], None, r"\x80 = é"),
    ],
)
def test_bytes_that_are_no_text_are_named(
    arguments: list[str], field: str | None, got: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shell passes them on: Python holds each byte that is none of UTF-8 as a surrogate."""
    assert run_command(["--json", *arguments]) == 2
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert (error["kind"], error["field"], error["got"]) == ("config", field, got)
    assert got in error["message"] and "Traceback" not in shown.err


def test_bytes_that_are_no_text_as_a_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "plan", "memory", "--params", b"\xff\xfe"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert rb"\xff\xfe" in done.stderr and b"Traceback" not in done.stderr


def test_a_missing_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["model", "show"], ["model", "show", "--source"]):
        assert in_json(arguments, capsys)[1]["error"]["message"] == "model show lacks --source."


def test_errors_for_people_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["modle"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "did you mean 'model'?" in shown.err


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (RequestError("no"), 2, "request"),
        (GuardError("refused"), 1, "guard"),
        (BusyError("held by 12"), 3, "busy"),
        (Interrupted("stopped"), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "internal"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, kind: str, verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raises(error))
    found = in_json(["doctor"], capsys)
    assert (found[0], found[1]["error"]["kind"]) == (code, kind)


def test_a_defect_shows_its_traceback_on_stderr_only(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raises(ZeroDivisionError("division by zero")))
    assert run_command(["doctor", "--json"]) == 1
    shown = capsys.readouterr()
    assert "Traceback" in shown.err and "Traceback" not in shown.out
    assert json.loads(shown.out)["error"]["message"] == "ZeroDivisionError: division by zero"


def test_interruption_says_that_the_same_command_goes_on(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raises(KeyboardInterrupt()))
    assert run_command(["doctor"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_a_negative_check_exits_1_and_still_answers(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda shared: {"equal": False, "_exit": 1})
    assert in_json(["doctor"], capsys) == (1, {"equal": False})


def test_numbers_json_cannot_hold_are_a_defect_and_not_printed(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda shared: {"value": float("nan")})
    code, found = in_json(["doctor"], capsys)
    assert (code, found["error"]["kind"]) == (1, "internal")


def test_prints_of_a_verb_do_not_reach_stdout(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(shared: Shared) -> dict[str, int]:
        print("a library's remark")
        return {"a": 1}

    verb(body)
    assert run_command(["doctor", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"a": 1}
    assert "a library's remark" in shown.err


def test_a_verb_that_answered_itself_is_not_answered_for(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda shared: answer({"url": "http://127.0.0.1:1"}))
    assert in_json(["doctor"], capsys) == (0, {"url": "http://127.0.0.1:1"})


def test_pages_for_people_come_from_the_verb(
    verb: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verb(lambda shared: {"n": 3})
    monkeypatch.setattr(doctor, "show", lambda result: print(f"n is {result['n']}"))
    assert run_command(["doctor"]) == 0
    assert capsys.readouterr().out == "n is 3\n"


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["tune", "preset:llama-tiny", "--learning-rate", "-1"], "--learning-rate"),
        (["tune", "preset:llama-tiny", "--batch-tokens", "0"], "--batch-tokens"),
        (["generate", "preset:llama-tiny", "x", "--top-k", "0", "--temperature", "1"], "--top-k"),
        (["generate", "preset:llama-tiny", "x", "--max-new-tokens", "-1"], "--max-new-tokens"),
    ],
)
def test_a_setting_is_named_as_it_was_typed(
    arguments: list[str], flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    more = ["--data", str(rows), "--out", str(tmp_path / "out")] if arguments[0] == "tune" else []
    code, found = in_json([*arguments, *more], capsys)
    assert code == 2 and found["error"]["field"] == flag
    assert found["error"]["message"].startswith(flag)


def test_too_few_rows_name_the_flag_that_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, replies = tmp_path / "rows.jsonl", tmp_path / "replies.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n')
    replies.write_text('{"match": ".*", "reply": "b"}\n')
    code, found = in_json(
        ["eval", f"scripted:{replies}", "--data", str(rows), "--shots", "5"], capsys
    )
    assert code == 2 and found["error"]["field"] == "--shots"
    assert found["error"]["kind"] == "data" and found["error"]["got"] == "2 rows"


def test_fields_that_are_no_flags_stay_as_they_are(
    verb: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for field in ("learning_rate", "config.json: dtype", "rows.jsonl:3", "quick brown", ""):
        verb(raises(ConfigError("wrong", field=field)))
        assert in_json(["doctor"], capsys)[1]["error"]["field"] == field


CHILD = """
import os, subprocess, sys
from tutelage.cli import doctor
from tutelage.cli.main import run_command
from tutelage.cli.shared import Shared

def talk(*, shared: Shared | None = None):
    os.write(1, b"from C\\n")
    subprocess.run(["echo", "from a child"], check=True)
    print("from Python")
    return {"ok": True}

talk.__module__ = "tutelage.cli.doctor"
doctor.doctor = talk
code = run_command(["doctor", "--json"])
print("after")
sys.exit(code)
"""


def test_stdout_is_protected_below_python_and_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ['{"ok": true}', "after"]
    for remark in ("from C", "from a child", "from Python"):
        assert remark in done.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_traceback(flags: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tutelage", *MEMORY, *flags],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


COMMANDS = [[verb] for verb in VERBS] + [[g, verb] for g in GROUPS for verb in GROUPS[g][1]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_option_has_two_meanings(words: list[str]) -> None:
    """A verb's own option would hide the common one of its name."""
    _, apps, _ = build_app(words).parse_commands(words)
    found = [name for one in apps[-1].assemble_argument_collection() for name in one.names]
    options = [name for name in found if name != "*"]
    assert len(options) == len(set(options)) > 5


def test_the_command_as_a_process() -> None:
    done = tutelage(*MEMORY, "--json")
    assert (done.returncode, json.loads(done.stdout)["total_bytes"]) == (0, 4 * 10**9)
    failed = tutelage("plan", "memory", "--json")
    assert failed.returncode == 2
    assert json.loads(failed.stdout)["error"]["field"] == "--params, --model"
    assert failed.stderr.startswith("error: ")
