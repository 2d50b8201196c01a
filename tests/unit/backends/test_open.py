"""Which backend a source opens, and which options it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tutelage.backends.http import HttpLM
from tutelage.backends.open import open_lm
from tutelage.backends.scripted import ScriptedLM
from tutelage.errors import ConfigError, SourceError


def test_sources_without_weights(tmp_path: Path) -> None:
    script, key = tmp_path / "s.jsonl", tmp_path / "key"
    script.write_text('{"match": "", "reply": "hi"}')
    key.write_text("sk\n")
    assert isinstance(open_lm(f"scripted:{script}"), ScriptedLM)
    assert isinstance(open_lm("https://example.org/v1#a/b", api_key_file=key), HttpLM)


@pytest.mark.parametrize("option", ["adapter", "api_key_file"])
def test_an_option_without_effect_is_refused(tmp_path: Path, option: str) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "reply": "hi"}')
    with pytest.raises(ConfigError):
        open_lm(f"scripted:{script}", **{option: tmp_path})


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(SourceError):
        open_lm("no-such-thing")


@pytest.mark.parametrize("option", [{"device": "cpu"}, {"dtype": "bf16"}, {"exact": True}])
@pytest.mark.parametrize("kind", ["scripted", "http"])
def test_where_to_compute_is_refused_for_what_is_computed_elsewhere(
    tmp_path: Path, kind: str, option: dict[str, Any]
) -> None:
    script = tmp_path / "s.jsonl"
    script.write_text('{"match": "", "reply": "hi"}')
    source = {"scripted": f"scripted:{script}", "http": "http://127.0.0.1:9/v1#m"}[kind]
    (flag,) = option
    with pytest.raises(ConfigError) as caught:
        open_lm(source, **option)
    assert caught.value.field == f"--{flag}"
    assert open_lm(source, device="auto", dtype="auto", exact=False)
