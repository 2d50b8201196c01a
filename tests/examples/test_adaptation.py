"""The studies of examples/adaptation: what they ask, and the whole in small when long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.style.sources import ROOT

FOLDER = ROOT / "examples" / "adaptation"
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (FOLDER, ROOT / "examples" / "from_scratch"):
        monkeypatch.syspath_prepend(str(folder))


@pytest.mark.skipif(not (DATA / "blimp").is_dir(), reason="the data are not here")
def test_questions_of_every_kind_have_one_right_choice() -> None:
    from flan import TEMPLATES, asks, prompt_of  # type: ignore[import-not-found]

    kinds = asks(DATA, 50, smoke=False)
    assert set(kinds) == set(TEMPLATES)
    for kind, found in kinds.items():
        for ask in found:
            assert len(ask.choices) >= 2 and 0 <= ask.right < len(ask.choices)
            assert len(set(ask.choices)) == len(ask.choices) and all(ask.choices)
            prompt = prompt_of(ask, kind, "instructions")
            assert ask.text in prompt and "{options}" not in prompt
            assert prompt == prompt_of(ask, kind, "instructions")
        used = {prompt_of(ask, kind, "bare") for ask in found}
        assert len(used) > len(found) // 2
        rights = {ask.right for ask in found}
        assert len(rights) > 1, kind


@pytest.mark.long
@pytest.mark.skipif(not (DATA / "blimp").is_dir(), reason="the data are not here")
def test_the_whole_in_small(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "run.py", "--smoke", "--threads", "1", "--work", tmp_path]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    found = json.loads((tmp_path / "smoke" / "results" / "flan.json").read_text("utf-8"))
    assert found["smoke"] and set(found["left_out"]) == set(found["clusters"])
    for one in found["left_out"].values():
        assert one["before"]["accuracy"]["n"] == one["n"]
        assert one["instructions"]["against_before"]["p_value"] <= 1
