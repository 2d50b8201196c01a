"""SIGKILL at any moment of `tutelage run`, with real tuning: the same call ends the same.

A tiny model asked and then tuned, by LoRA or as a whole, saving after every step, until it says the
one letter that all answers are made of, and is recommended. Kills fall into stages, checkpoints,
weights, manifests, the record, the report, the card and the model that is published.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import Case, Kills
from tests.faults.conftest import Zygote
from tests.unit.lifecycle.test_run import timeless
from tests.unit.train.rows import SOURCE, rows_of
from tutelage import store

METHODS = ("lora", pytest.param("full", marks=pytest.mark.long))
VARYING = {
    "predicted_peak_bytes", "predicted_seconds", "probed_seconds", "runtime", "bytes_on_disk",
    "created", "counted_flops",
}  # fmt: skip

PROJECT = f"""
name = "letters"
[task]
data = "rows.jsonl"
prompt = "{{prompt}}"
completion = "{{completion}}"
metric = "chrf"
rows = {{ train = 24, development = 6, test = 6 }}
[models]
candidates = ["{SOURCE}"]
[search]
rungs = ["zero-shot", "METHOD"]
"""


@pytest.fixture(scope="module", params=METHODS)
def case(
    request: pytest.FixtureRequest, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """An undisturbed run of a project that tunes by one method."""
    folder = tmp_path_factory.mktemp(request.param)
    rows = [
        {"prompt": f"{row.messages[0].content} {i}", "completion": "a" * 12}
        for i, row in enumerate(rows_of(48))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    project = folder / "project.toml"
    project.write_text(PROJECT.replace("METHOD", request.param))
    made = Case.of(zygote, folder / "run", str(project), finished, ending)
    assert made.operations.count("save:rename:step") >= 5
    assert made.expected["files"]["record.json"]["recommended"]["rung"] == request.param
    return made


def finished(out: Path) -> dict[str, int]:
    """Finished stages, artefacts and pages, and when each was made."""
    stages = list((out / "stages").glob(f"[!.]*/{store.MANIFEST}"))
    artefacts = [*out.glob(f"model/{store.MANIFEST}")]
    artefacts += out.glob(f"candidates/*/adapter/{store.MANIFEST}")
    artefacts += out.glob(f"candidates/*/model/{store.MANIFEST}")
    pages = [out / "report.html", out / "CARD.md", out / "record.json"]
    shown = pages if any(file.parent.name.startswith("pages-") for file in stages) else []
    files = [*stages, *artefacts, *(page for page in shown if page.exists())]
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


def ending(out: Path) -> dict[str, Any]:
    """All that a run which came to its end has made, without what clocks and memory say."""
    for name in ("record.json", "report.html", "CARD.md", "model/tutelage.json"):
        assert (out / name).is_file()
    assert not list(out.rglob(".tmp-*")), "nothing is left behind"
    assert not list(out.rglob("*.state")), "a finished tuning keeps no checkpoints"
    for manifest in out.rglob(store.MANIFEST):
        store.verify(manifest.parent)
    weights = {
        str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(out.rglob("*.safetensors"))
    }
    assert weights
    return {"stages": stages(out), "weights": weights, "files": written(out)}


def stages(out: Path) -> dict[str, int]:
    """How often each stage was done: once, also under another key."""
    folders = (out / "stages").glob("[!.]*")
    return dict(Counter(re.sub("-[0-9a-f]{20}$", "", folder.name) for folder in folders))


def written(out: Path) -> dict[str, Any]:
    """The record, and of every candidate what it answered and what it was made of."""
    files = [out / "record.json", *out.glob("model/*.json"), *out.glob("candidates/*/*.json")]
    files += [*out.glob("candidates/*/*/*.json")]
    return {
        str(file.relative_to(out)): stable(
            timeless(json.loads(file.read_text().replace(str(out), "RUN")))
        )
        for file in files
        if file.name != store.MANIFEST
    }


def stable(value: Any) -> Any:
    """The record without what follows from the process and the day: memory it held before, the
    speed of the machine when it was asked, when it was made, and the digits of times in files."""
    if isinstance(value, dict):
        return {key: stable(one) for key, one in value.items() if key not in VARYING}
    return [stable(one) for one in value] if isinstance(value, list) else value


def test_a_run_killed_before_kinds_of_durable_operations(
    zygote: Zygote, case: Case, tmp_path: Path
) -> None:
    """Every ninth kind, and the last: the record."""
    kinds = case.kinds()
    Kills(zygote, case, tmp_path).before_each([*kinds[1:-1:9], kinds[-1]])


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_run_killed_at_many_random_moments(zygote: Zygote, case: Case, tmp_path: Path) -> None:
    Kills(zygote, case, tmp_path).at_random_moments(50, seed=2)


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_run_killed_before_every_kind_of_durable_operation(
    zygote: Zygote, case: Case, tmp_path: Path
) -> None:
    """Moments drawn by the clock seldom meet the short ones: here each of them is met."""
    kills = Kills(zygote, case, tmp_path)
    kills.before_each(case.kinds())
    wanted = {"save", "save/manifest", "manifest", "publish", "publish/model", "publish/manifest"}
    assert wanted | {"publish/report", "publish/card"} <= set(kills.places)
