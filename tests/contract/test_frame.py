"""What every verb keeps to: exit codes, the error object, strict JSON, and help that is light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.command import Called, called, installed, process
from tests.contract.keys import check
from tutelage import store
from tutelage.cli.main import GROUPS, VERBS

HELP = """
import contextlib, io, sys
from tutelage.cli.main import GROUPS, VERBS, run_command

pages = [[], *([verb] for verb in VERBS), *([group] for group in GROUPS)]
pages += [[group, verb] for group, (_, verbs) in GROUPS.items() for verb in verbs]
for words in pages:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run_command([*words, "--help"])
    heavy = {"torch", "pydantic", "numpy"} & set(sys.modules)
    assert code == 0 and not heavy, (words, code, heavy)
    assert "Usage: tutelage " + " ".join(words) in out.getvalue(), words
print(len(pages))
"""


def failed(found: Called, code: int, kind: str) -> dict[str, str | None]:
    """The error object, which is all that is on stdout; people read the same on stderr."""
    assert found.code == code
    assert set(found.found) == {"error"}
    error = found.found["error"]
    check("error", error)
    assert error["kind"] == kind and error["message"]
    assert all(value is None or isinstance(value, str) for value in error.values())
    assert f"error: {error['message']}" in found.errors
    return dict(error)


def test_done_is_0() -> None:
    assert process("plan", "memory", "--params", "1e9").code == 0


def test_work_that_failed_is_1(script: str) -> None:
    error = failed(process("generate", script, "something else"), 1, "work")
    assert "no rule" in str(error["message"]) and error["hint"]


def test_a_request_at_fault_is_2(rows: str) -> None:
    error = failed(process("plan", "memory", "--params", "1e9", "--precision", "fp9"), 2, "config")
    assert error["field"] == "--precision" and error["got"] == "fp9"
    error = failed(called("model", "show", "preset:llama-tinny"), 2, "unknown-name")
    assert error["hint"] == "did you mean 'llama-tiny'?"
    failed(called("model", "show", "no/such/folder"), 2, "source")
    failed(called("report", "no/such/run"), 2, "request")
    error = failed(called("eval", "scripted:none", "--data", "none.jsonl"), 2, "data")
    assert error["field"] == "none.jsonl"
    error = failed(called("tune", "preset:llama-tiny", "--data", rows), 2, "config")
    assert error["field"] == "--out"


def test_busy_is_3_and_names_the_holder(run: Called) -> None:
    with store.lock(Path(run.found["run"])):
        error = failed(process("report", run.found["run"]), 3, "busy")
    assert f"process {os.getpid()}" in str(error["message"])


@pytest.mark.parametrize(
    "words",
    [
        *([verb] for verb in VERBS if verb not in ("run", "chat", "doctor", "claims")),
        *([group, verb] for group, (_, verbs) in GROUPS.items() for verb in verbs),
    ],
    ids=" ".join,
)
def test_a_verb_without_what_it_needs_names_it(words: list[str]) -> None:
    error = failed(called(*words), 2, "config")
    assert error["field"], "the missing argument"


def test_unknown_verbs_and_options_are_named() -> None:
    for words in (["generat"], ["model", "sho"], ["plan", "memory", "--parms", "1"]):
        error = failed(called(*words), 2, "config")
        assert "did you mean" in str(error["hint"]).lower()


def test_progress_and_logs_stay_off_stdout(rows: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*installed(), "tune", "preset:llama-tiny", "--data", rows, "--steps", "1", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "nothing was kept" in done.stdout
    assert not done.stdout.startswith("{"), "without --json a page for people"


def test_help_of_every_verb_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verbs = sum(len(verbs) for _, verbs in GROUPS.values())
    assert int(done.stdout) == 1 + len(VERBS) + len(GROUPS) + verbs
