"""`run` and `report`: one object, and every file it names."""

from __future__ import annotations

from pathlib import Path

from tests.contract.command import HERE, Called, called
from tests.contract.conftest import PROJECT
from tests.contract.keys import check, check_measured


def test_run(run: Called) -> None:
    code, found, _ = run
    assert code == 0
    check("run", found)
    check("recommended", found["recommended"])
    assert found["recommended"]["candidate"] in {one["name"] for one in found["candidates"]}
    assert [one["rung"] for one in found["candidates"]] == ["zero-shot", "lora"]
    for one in found["candidates"]:
        check("candidate", one)
        assert one["status"] in ("done", "skipped", "stopped")
        for measured in [*one["development"].values(), *(one["test"] or {}).values()]:
            check_measured(measured)
        for comparison in one["comparisons"]:
            check("comparison", comparison)
    lora = found["candidates"][1]
    assert [each["against"] for each in lora["comparisons"]] == [found["candidates"][0]["name"]]
    check_measured(lora["forgetting"])
    assert lora["trained_parameters"] > 0 and lora["bytes_on_disk"] > 0
    for name in ("report", "model", "card"):
        assert Path(found[name]).exists(), name


def test_the_same_command_answers_with_the_same_object(run: Called, folder: Path) -> None:
    again = called("run", str(folder / "project.toml"), "--out", str(folder / "run"), *HERE)
    assert again.code == 0 and again.found == run.found


def test_report(run: Called) -> None:
    code, found, _ = called("report", run.found["run"])
    assert code == 0 and found == run.found


def test_a_run_of_a_script(folder: Path, script: str, tmp_path: Path) -> None:
    """Nothing is tuned, no memory is predicted: null, and still every key."""
    text = PROJECT.format(model=script, rungs='"zero-shot", "one-shot"')
    text = text.replace("rows.jsonl", str(folder / "rows.jsonl"))
    (tmp_path / "project.toml").write_text(text, encoding="utf-8")
    code, found, _ = called("run", str(tmp_path), "--out", str(tmp_path / "run"))
    assert code == 0
    check("run", found)
    for one in found["candidates"]:
        check("candidate", one)
        assert one["predicted_peak_bytes"] is None and one["forgetting"] is None
