"""Checkpoints and results are tied to the code that made them, as to the rows and settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.train.rows import After, config, tuned
from tutelage.code_hash import parts
from tutelage.errors import RequestError
from tutelage.train import prepare as module

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("deadline", [After(3), None], ids=["unfinished", "finished"])
def test_work_of_other_code_is_not_gone_on_from(
    deadline: After | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    tuned(out, config(), deadline=deadline)
    tuned(out, config(), deadline=lambda: True)
    monkeypatch.setattr(module, "code_hash", lambda *modules: "a loss was mended")
    with pytest.raises(RequestError, match="before Tutelage or torch changed") as caught:
        tuned(out, config())
    assert "remove it" in str(caught.value.hint)
    with pytest.raises(RequestError) as caught:
        tuned(out, config(seed=1))
    assert "changed" not in caught.value.message, "not only the code is another"


def test_the_code_is_all_that_tuning_imports() -> None:
    found = set(parts(module.CODE))
    assert {"train", "objectives", "kernels", "nn", "peft", "data", "text"} <= found
