"""The set-up scripts: they parse, name what is missing, and CI fails if one of its parts does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.style.sources import ROOT

SCRIPTS = ["scripts/run", "scripts/test", "scripts/check", "scripts/setup", ".ci/run"]
BASH = shutil.which("bash") or "bash"


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{BASH}\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse_and_are_executable(name: str) -> None:
    path = ROOT / name
    assert subprocess.run([BASH, "-n", str(path)], check=False).returncode == 0
    assert os.access(path, os.X_OK) == (name != "scripts/setup")  # setup is read, not run


def set_up(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    """scripts/run in a checkout without .venv, on a machine whose only Python is `python`."""
    shutil.copytree(ROOT / "scripts", tmp_path / "checkout" / "scripts")
    program(tmp_path / "bin" / "python3", python)
    (tmp_path / "bin" / "dirname").symlink_to(shutil.which("dirname") or "/usr/bin/dirname")
    return subprocess.run(
        [BASH, str(tmp_path / "checkout" / "scripts" / "run")],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    # Says its version when asked for it, and that it is too old when tested.
    done = set_up(tmp_path, 'case "$2" in *platform*) echo 3.9.18;; *) exit 1;; esac')
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11 or newer" in done.stderr
    assert "python3=3.9.18" in done.stderr


def test_a_python_without_venv_is_named(tmp_path: Path) -> None:
    done = set_up(
        tmp_path, 'case "$2" in *platform*) echo 3.12.1;; *venv*) exit 1;; *) exit 0;; esac'
    )
    assert done.returncode == 1
    assert "install python3-venv" in done.stderr


def test_who_has_no_network_learns_what_to_do(tmp_path: Path) -> None:
    venv = tmp_path / "checkout" / ".venv" / "bin"
    program(venv / "python", 'case "$3" in install) echo "no index" >&2; exit 1;; esac')
    done = set_up(tmp_path, "exit 0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no index" in done.stderr, "pip's own message stays"
    assert "PIP_NO_INDEX=1 PIP_FIND_LINKS=" in done.stderr and "goes on" in done.stderr


def test_a_path_of_folders_for_cd_does_not_mislead(tmp_path: Path) -> None:
    """With CDPATH set, cd prints where it went, and may go elsewhere."""
    (tmp_path / "scripts").mkdir()
    done = subprocess.run(
        [BASH, "-c", '. scripts/setup; echo "$ROOT"'],
        cwd=ROOT, env={**os.environ, "CDPATH": f"{tmp_path}:."},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{ROOT}\n"


@pytest.mark.parametrize(("check", "test", "code"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (3, 2, 1)])
def test_ci_runs_both_and_fails_if_either_does(
    tmp_path: Path, check: int, test: int, code: int
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    program(tmp_path / "scripts" / "check", f"echo checked; exit {check}")
    program(tmp_path / "scripts" / "test", f"echo tested; exit {test}")
    done = subprocess.run(
        [str(tmp_path / ".ci" / "run")], cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (code, ["checked", "tested"])


def test_constraints_cover_every_dependency() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(r) for r in sum(extras.values(), project["dependencies"])]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if line[:1] != "#")
    }
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name == "tutelage":
            continue
        assert name in pinned, f"constraints.txt pins no {name}"
        assert requirement.specifier.contains(pinned[name]), requirement
    assert "+" not in "".join(pinned.values()), "a local build is no release"
    assert sys.version_info >= (3, 11)
