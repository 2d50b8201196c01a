"""What may not stand in the package: foreign trainers, pickle, hidden switches, stubs, paths."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.style.sources import ROOT, files, imports, module, tree

FOREIGN = {"transformers", "peft", "trl", "accelerate", "pickle", "dill", "cloudpickle", "joblib"}
ENVIRONMENT = {"XDG_CACHE_HOME"}
MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|tmp|root|home/\w+)/")


@pytest.mark.parametrize("path", files(), ids=module)
def test_no_foreign_trainer_and_no_pickle(path: Path) -> None:
    found = {name.partition(".")[0] for name in imports(tree(path))} & FOREIGN
    assert not found
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "torch.save"):
            pytest.fail(
                f"{module(path)}:{node.lineno} uses {ast.unparse(node.func)}, which pickles"
            )


@pytest.mark.parametrize("path", files(), ids=module)
def test_no_switch_is_hidden_in_the_environment(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"):
            line = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
            named = set(re.findall(r"[\"'](\w+)[\"']", line))
            assert named and named <= ENVIRONMENT, f"{module(path)}:{node.lineno}: {line.strip()}"


@pytest.mark.parametrize("path", files(), ids=module)
def test_nothing_is_a_stub(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "NotImplementedError" not in ast.unparse(node.exc), f"line {node.lineno}"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", text), "a TODO names an issue"


def test_no_path_of_one_machine() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    assert names
    for name in names:
        path = ROOT / name
        if not path.is_file() or path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found = MACHINE_PATHS.search(text)
        assert not found, f"{name}: {text[max(found.start() - 30, 0) : found.end() + 30]!r}"
