"""What the tests of verbs share: forty rows, a script, and one tiny run, made once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.contract.command import HERE, Called, called

WORDS = ["red", "green", "blue", "grey", "pink", "gold", "teal", "lime", "navy", "plum"]
PROJECT = """
name = "tiny"

[task]
data = "rows.jsonl"
metric = "rougeL"
rows = {{ train = 16, development = 8, test = 8 }}

[models]
candidates = ["{model}"]

[search]
rungs = [{rungs}]
"""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rows.jsonl, script.jsonl and project.toml."""
    here = tmp_path_factory.mktemp("contract")
    rows = [
        {"prompt": f"Backwards {n}: {WORDS[n % 10]}", "completion": WORDS[n % 10][::-1]}
        for n in range(40)
    ]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    rules = [{"match": f": {word}", "reply": word[::-1]} for word in WORDS[:7]]
    rules.append({"match": "Backwards", "reply": "who knows"})
    (here / "script.jsonl").write_text("\n".join(map(json.dumps, rules)), encoding="utf-8")
    project = PROJECT.format(model="preset:llama-tiny", rungs='"zero-shot", "lora"')
    (here / "project.toml").write_text(project, encoding="utf-8")
    return here


@pytest.fixture(scope="session")
def rows(folder: Path) -> str:
    return str(folder / "rows.jsonl")


@pytest.fixture(scope="session")
def script(folder: Path) -> str:
    """A model source that answers seven of ten words rightly, and nothing but `Backwards`."""
    return f"scripted:{folder / 'script.jsonl'}"


@pytest.fixture(scope="session")
def run(folder: Path) -> Called:
    """A run of preset:llama-tiny: examples in no prompt, and low-rank updates."""
    return called("run", str(folder / "project.toml"), "--out", str(folder / "run"), *HERE)
