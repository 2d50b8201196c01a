"""The command itself, `python -m tutelage`: folders in use, disks that fail, damaged checkpoints.

Each time: the exit code of the contract, an error that names the place, and the same command goes
on to the end of an undisturbed run once the fault is gone.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.campaign import differences, seed_of
from tests.faults.conftest import KILLED, Zygote, remount
from tests.faults.test_kills import digests
from tests.faults.test_run_kills import ending, finished
from tests.unit.train.rows import SOURCE, After, rows_of
from tutelage.data.load import load
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

LONG = pytest.mark.long
METHODS = ("lora", "full")
COMMON = ("--device", "cpu", "--dtype", "fp32", "--threads", "1", "--json", "--quiet")
STEPS, BATCH_TOKENS = 6, 160
PROJECT = f"""
name = "small"
[task]
data = "rows.jsonl"
metric = "chrf"
rows = {{ train = 24, development = 6, test = 6 }}
[models]
candidates = ["{SOURCE}"]
[search]
rungs = ["zero-shot", "lora"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project file, and beside it the rows that `tune` is given too."""
    folder = tmp_path_factory.mktemp("project")
    rows = [
        {"prompt": f"{row.messages[0].content} {i}", "completion": row.completion}
        for i, row in enumerate(rows_of(48))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "project.toml").write_text(PROJECT)
    return folder / "project.toml"


def tuning(project: Path, out: Path, method: str = "full") -> list[str]:
    return [
        "tune", SOURCE, "--method", method,
        "--data", str(project.parent / "rows.jsonl"), "--steps", str(STEPS),
        "--batch-tokens", str(BATCH_TOKENS), "--skip-forgetting", *COMMON, "--out", str(out),
    ]  # fmt: skip


def running(project: Path, out: Path) -> list[str]:
    return ["run", str(project), *COMMON, "--out", str(out)]


@pytest.fixture(scope="module")
def warm(zygote: Zygote, project: Path) -> Zygote:
    """A process that has run the project, and so has imported what the commands need."""
    zygote.warm(str(project))
    return zygote


@pytest.fixture(scope="module")
def undisturbed(
    warm: Zygote, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    """Digests of the weights that each method ends with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for method in METHODS:
        assert warm.called(tuning(project, folder / method, method))[0] == 0
    return {method: digests(folder / method) for method in METHODS}


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_a_folder_in_use_is_refused_with_the_pid_and_freed_by_a_kill(
    verb: str, warm: Zygote, project: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = running(project, out) if verb == "run" else tuning(project, out)
    lock = (out if verb == "run" else tmp_path / "out.state") / ".lock"
    first = warm.start(command, held=True)
    while not (lock.exists() and lock.read_text()):
        assert first.poll() is None
        time.sleep(0.01)
    code, printed, _ = warm.called(command)
    first.send(signal.SIGKILL)
    assert first.wait() == KILLED
    assert code == 3 and printed["error"]["kind"] == "busy"
    assert str(first.pid) in printed["error"]["message"]
    assert printed["error"]["field"] == str(lock.parent)
    code, printed, errors = warm.called(command)
    assert code == 0, errors
    assert Path(printed["run" if verb == "run" else "out"]) == out


def test_the_command_goes_on_after_a_kill(
    root: Path, project: Path, tmp_path: Path, undisturbed: dict[str, dict[str, str]]
) -> None:
    """`python -m tutelage tune` itself, which imports all anew, killed once its work has begun."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tutelage", *tuning(project, out)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as first:
        while not out.with_name("out.state").exists():
            assert first.poll() is None
            time.sleep(0.01)
        first.kill()
    assert first.returncode == KILLED and not out.exists()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["out"] == str(out)
    assert digests(out) == undisturbed["full"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_run_of_the_command_killed_at_random_moments_ends_the_same(
    root: Path, project: Path, tmp_path: Path
) -> None:
    """Each process imports all anew, as it does for a person."""

    def command(out: Path) -> list[str]:
        return [sys.executable, "-m", "tutelage", *running(project, out)]

    def whole(out: Path) -> None:
        subprocess.run(command(out), cwd=root, check=True, stdout=subprocess.DEVNULL)

    begun = time.monotonic()
    whole(tmp_path / "calm")
    seconds, drawn, killed = time.monotonic() - begun, random.Random(seed_of(3)), 0
    while killed < 10:
        moment = drawn.uniform(0.1, seconds)
        with subprocess.Popen(command(tmp_path / "out"), cwd=root, stdout=subprocess.PIPE) as one:
            try:
                one.communicate(timeout=moment)
            except subprocess.TimeoutExpired:
                one.kill()
                killed += 1
        print(f"{moment:.2f} s of {seconds:.2f}: {len(finished(tmp_path / 'out'))} parts finished")
        if one.returncode == 0:
            assert dict(differences(ending(tmp_path / "out"), ending(tmp_path / "calm"))) == {}
            shutil.rmtree(tmp_path / "out")
    whole(tmp_path / "out")
    assert dict(differences(ending(tmp_path / "out"), ending(tmp_path / "calm"))) == {}


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 16
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("method", "how", "name", "victims"),
    [
        ("lora", "truncated", "weights.safetensors", 1),
        ("full", "flipped", "optimizer.safetensors", 1),
        pytest.param("lora", "flipped", "weights.safetensors", 2, marks=LONG),
        pytest.param("full", "truncated", "manifest.json", 1, marks=LONG),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    method: str, how: str, name: str, victims: int, warm: Zygote, project: Path, tmp_path: Path,
    undisturbed: dict[str, dict[str, str]],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    config = TuneConfig(method=method, steps=STEPS, batch_tokens=BATCH_TOKENS, save_seconds=1e-9)
    rows = load(str(project.parent / "rows.jsonl")).rows
    tune(SOURCE, rows, config, out, deadline=After(4), device="cpu", dtype="fp32", threads=1)
    checkpoints = sorted((tmp_path / "out.state").glob("step-*"))
    assert len(checkpoints) == 2
    for checkpoint in checkpoints[-victims:]:
        damage(checkpoint / name, how)
    code, _, errors = warm.called(tuning(project, out, method))
    assert code == 0, errors
    for checkpoint in checkpoints[-victims:]:
        assert f"{checkpoint / name} is" in errors
    assert errors.count("using the checkpoint before it") == victims
    assert digests(out) == undisturbed[method]


@pytest.mark.parametrize("size", ["200k", pytest.param("440k", marks=LONG)])
def test_a_full_disk_is_named_and_with_room_the_same_command_goes_on(
    size: str, warm: Zygote, disk: Path, project: Path, tmp_path: Path,
    undisturbed: dict[str, dict[str, str]],
) -> None:  # fmt: skip
    """Full in the middle of the weights, and after them (0.44 MB)."""
    command = tuning(project, disk / "out")
    remount(warm, disk, f"size={size}")
    code, printed, _ = warm.called(command)
    assert code == 1 and printed["error"]["kind"] == "work"
    assert str(disk / "out") in printed["error"]["field"]
    assert any(s in printed["error"]["message"] for s in ("disk full", "No space left"))
    remount(warm, disk, "size=64m")
    code, printed, errors = warm.called(command)
    assert code == 0, errors
    warm.shell("cp", "-r", disk / "out", tmp_path / "kept")
    assert printed["out"] == str(disk / "out") and digests(tmp_path / "kept") == undisturbed["full"]


@pytest.mark.parametrize("blocks", [pytest.param(100, marks=LONG), 2000])
def test_a_file_that_may_not_grow_is_named_and_no_finished_stage_is_redone(
    blocks: int, warm: Zygote, project: Path, tmp_path: Path
) -> None:
    """A limit of 512-byte blocks a file: too few for weights, or only for the report."""
    out = tmp_path / "out"
    command = running(project, out)
    code, printed, _ = warm.called(command, limit=blocks * 512)
    assert code == 1 and printed["error"]["kind"] == "work"
    assert str(out) in printed["error"]["field"], printed
    assert ("report.html" in printed["error"]["field"]) == (blocks == 2000)
    assert "File too large" in printed["error"]["message"]
    before = finished(out)
    assert len(before) > 3
    code, printed, errors = warm.called(command)
    assert code == 0, errors
    after = finished(out)
    assert {name: after[name] for name in before} == before
    assert not list(out.rglob(".tmp-*"))


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_a_read_only_folder_is_named(verb: str, warm: Zygote, disk: Path, project: Path) -> None:
    remount(warm, disk, "ro")
    code, printed, _ = warm.called((running if verb == "run" else tuning)(project, disk / "out"))
    assert code == 1 and printed["error"]["kind"] == "work"
    assert "Read-only file system" in printed["error"]["message"]
    assert str(disk / "out") in printed["error"]["field"]
