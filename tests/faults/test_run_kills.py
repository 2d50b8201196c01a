"""SIGKILL at any moment of `tutelage run`, with real tuning: the same call ends the same.

A ladder of three rungs on a tiny model that saves after every step of tuning; kills fall into
stages, checkpoints, weights, the manifest, the record, the report and the card.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import KILLED, Zygote
from tests.unit.lifecycle.test_run import timeless
from tests.unit.train.rows import SOURCE, rows_of
from tutelage import store

VARYING = {"predicted_peak_bytes", "runtime", "bytes_on_disk", "created"}

PROJECT = f"""
name = "backwards"
[task]
data = "rows.jsonl"
prompt = "{{prompt}}"
completion = "{{completion}}"
metric = "exact_match"
rows = {{ train = 24, development = 6, test = 6 }}
[models]
candidates = ["{SOURCE}"]
[search]
rungs = ["zero-shot", "lora", "full"]
"""


@dataclass(frozen=True)
class Ending:
    """What a run that came to its end has made, without what clocks and memory say."""

    record: Any
    weights: dict[str, str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    rows = [
        {"prompt": f"{r.messages[0].content} {i}", "completion": r.completion}
        for i, r in enumerate(rows_of(48))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "project.toml").write_text(PROJECT)
    return folder / "project.toml"


@pytest.fixture(scope="module")
def calm(
    zygote: Zygote, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ending, float]:
    """An undisturbed run, and how long it takes."""
    out = tmp_path_factory.mktemp("calm") / "run"
    begun = time.monotonic()
    assert zygote.run(out, str(project)) == 0
    return ending(out), time.monotonic() - begun


def ending(out: Path) -> Ending:
    record = (out / "record.json").read_text().replace(str(out), "RUN")
    weights = {
        str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("*.safetensors"))
    }
    assert weights and (out / "report.html").is_file() and (out / "CARD.md").is_file()
    assert not list(out.rglob(".tmp-*")), "nothing is left behind"
    for manifest in out.rglob(store.MANIFEST):
        store.verify(manifest.parent)
    return Ending(stable(timeless(json.loads(record))), weights)


def stable(value: Any) -> Any:
    """The record without what follows from the process and the day: memory it held before, when it
    was made, and the digits of times in files."""
    if isinstance(value, dict):
        return {key: stable(one) for key, one in value.items() if key not in VARYING}
    return [stable(one) for one in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Places of two records that differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{where}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{where}/{place}")
    elif one != other:
        yield where, (one, other)


def finished(out: Path) -> dict[str, int]:
    """Finished stages and when each was made."""
    manifests = (out / "stages").glob("[!.]*/" + store.MANIFEST)
    return {file.parent.name: file.stat().st_mtime_ns for file in manifests}


def kill_at_random_moments(
    zygote: Zygote, project: Path, calm: tuple[Ending, float], folder: Path, count: int, seed: int
) -> None:
    """Up to three kills a run, then the same call to the end."""
    expected, seconds = calm
    drawn = random.Random(seed)
    killed = number = 0
    while killed < count:
        out = folder / str(number) / "run"
        for _ in range(drawn.randrange(1, 4)):
            moment = drawn.uniform(0.001, seconds)
            killed += zygote.run(out, str(project), kill_after=moment) == KILLED
        before = finished(out)
        assert zygote.run(out, str(project)) == 0
        after = finished(out)
        assert {name: after[name] for name in before} == before, "a finished stage is not redone"
        found = ending(out)
        assert dict(differences(found.record, expected.record)) == {}
        assert found.weights == expected.weights
        number += 1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_run_killed_at_many_random_moments(
    zygote: Zygote, project: Path, calm: tuple[Ending, float], tmp_path: Path
) -> None:
    kill_at_random_moments(zygote, project, calm, tmp_path, count=50, seed=2)
