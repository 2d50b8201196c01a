"""`model show`, `model pull` and `tune`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.command import HERE, Called, called
from tests.contract.keys import check, check_measured

TINY = "preset:llama-tiny"


def test_model_show(run: Called) -> None:
    for source in (TINY, run.found["run"], run.found["model"]):
        code, found, _ = called("model", "show", source)
        assert code == 0
        check("model show", found)
        assert found["family"] in ("encoder", "decoder", "encoder-decoder")
        assert found["parameters"] == 109_120


def test_model_pull(tmp_path: Path) -> None:
    code, found, _ = called("model", "pull", TINY, "--out", str(tmp_path / "pulled"))
    assert code == 0
    check("model pull", found)
    assert Path(found["out"], "config.json").is_file() and len(found["sha256"]) == 64
    assert found["bytes"] > 4 * 109_120


@pytest.mark.parametrize("method", ["lora", "full"])
def test_tune(method: str, rows: str, tmp_path: Path) -> None:
    given = ("tune", TINY, "--data", rows, "--method", method, "--steps", "2", *HERE)
    code, found, _ = called(*given, "--out", str(tmp_path / "out"))
    assert code == 0
    check("tune", found)
    check("tune rows", found["rows"])
    check("tune loss", found["loss"])
    assert (Path(found["out"]).is_dir(), found["method"]) == (True, method)
    if found["forgetting"] is not None:
        check_measured(found["forgetting"])


def test_tune_dry_run(rows: str, tmp_path: Path) -> None:
    given = ("tune", TINY, "--data", rows, "--steps", "2", "--dry-run", *HERE)
    code, found, _ = called(*given)
    assert code == 0
    check("tune", found)
    check("tune rows", found["rows"])
    assert found["predicted_peak_bytes"] > 0 and found["trained_parameters"] > 0
    for unknown in ("out", "loss", "seconds", "forgetting"):
        assert found[unknown] is None
    assert found["peak_bytes"] > 0 and found["rehearsal"]["bytes_on_disk"] > 0
    assert 1 <= len(found["preview"]) <= 3
    code, found, _ = called(*given, "--out", str(tmp_path / "out"))
    assert code == 0 and not (tmp_path / "out").exists()
