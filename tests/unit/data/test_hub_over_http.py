"""hf: over real HTTP, from a server on this machine that answers as the hub does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from tests.unit.data.hub_server import COMMIT, Hub, serving

NAME = "nyu-mll/glue"


def _set(folder: Path) -> Path:
    """A set of two configurations, and code that must not come."""
    for config, label in (("cola", "no"), ("sst2", "positive")):
        (folder / config).mkdir(parents=True)
        rows = [{"sentence": f"{label} {n}", "label": n % 2} for n in range(4)]
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, folder / config / "validation-00000-of-00001.parquet")
    (folder / "glue.py").write_text("raise SystemExit")
    return folder


def _eval(hub: Hub, home: Path, *more: str, **environment: str) -> tuple[int, dict[str, Any]]:
    script = home / "model.jsonl"
    home.mkdir(exist_ok=True)
    script.write_text('{"match": "[13]\\\\nIs this", "reply": "B"}\n{"match": "", "reply": "A"}\n')
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "eval", f"scripted:{script}", "--json", *more],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
             "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment},
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def test_a_benchmark_is_fetched_and_measured_then_read_from_the_cache(tmp_path: Path) -> None:
    with serving(NAME, _set(tmp_path / "set")) as hub:
        home = tmp_path / "home"
        code, found = _eval(hub, home, "--task", "cola", "--data", f"hf:{NAME}/cola")
        assert code == 0 and found["metrics"]["accuracy"]["value"] == 1.0
        assert found["metrics"]["matthews"]["value"] == 1.0 and found["n"] == 4
        fetched = [path for path in hub.asked if "/resolve/" in path]
        assert fetched and all("/cola/" in path for path in fetched), "one folder, and no code"
        assert any(COMMIT in str(path) for path in home.rglob("*"))
        hub.asked.clear()
        offline = _eval(
            hub, home, "--task", "cola", "--data", f"hf:{NAME}/cola", HF_HUB_OFFLINE="1"
        )
        assert offline[1]["metrics"] == found["metrics"] and hub.asked == []


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with serving(NAME, _set(tmp_path / "set")) as hub:
        for source, said in (("hf:nobody/none", "nobody/none"), (f"hf:{NAME}/mnli", "mnli")):
            code, found = _eval(hub, tmp_path / "home", "--task", "cola", "--data", source)
            assert code == 2 and said in json.dumps(found["error"])
