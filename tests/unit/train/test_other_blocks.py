"""Ways of tuning models whose blocks are other than attention with keys of its own: the whole run,
or an error that names the flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.train.rows import config, rows_of
from tutelage.errors import ConfigError
from tutelage.peft import METHODS
from tutelage.train.tune import tune

REFUSED = {
    "preset:lstm-tiny": {
        **dict.fromkeys(("lora", "dora", "qlora", "vera", "ia3"), "--role"),
        **dict.fromkeys(("adapter", "pfeiffer", "parallel", "roles"), "--role"),
        **dict.fromkeys(("norms", "prefix-tuning"), "--method"),
    },
    "preset:reformer-tiny": {"prefix-tuning": "--method"},
    "preset:linear-tiny": {},
}
"""An LSTM has no linear maps of its own, no norms and no attention; a Reformer's queries are its
keys, so that there is nothing that projects to keys alone."""


@pytest.mark.parametrize("source", REFUSED)
@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_works_or_names_the_flag(name: str, source: str, tmp_path: Path) -> None:
    def run() -> float:
        found = tune(
            source, rows_of(), config(method=name, steps=2), tmp_path / "out",
            device="cpu", dtype="fp32", threads=1,
        )  # fmt: skip
        assert found["status"] == "done" and found["predicted_peak_bytes"] > 0
        return float(found["loss"]["last"])

    if (flag := REFUSED[source].get(name)) is None:
        assert 0 < run() < 10
        return
    with pytest.raises(ConfigError) as caught:
        run()
    assert caught.value.field == flag and not (tmp_path / "out").exists()
