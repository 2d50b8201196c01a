"""Answering that runs out of memory says which setting would fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tutelage.backends import built, exhausted, local
from tutelage.backends.exhausted import Held
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.open import open_checkpoint
from tutelage.errors import MemoryLimitError
from tutelage.generate.memory import predict
from tutelage.lm import Request, complete
from tutelage.models.catalogue import layout
from tutelage.plan.answering import Asked

SOURCE = "preset:llama-tiny"
ASKED = Asked(rows=8, tokens=300)
ERRORS = (
    MemoryError("no room"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 3 GB"),
    OSError(12, "Cannot allocate memory"),
)


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return LocalLM.open(SOURCE, device="cpu", dtype="fp32", threads=1)


def hint(held: Held, asked: Asked | None = ASKED, answer: int = 256) -> str:
    with pytest.raises(MemoryLimitError) as caught, exhausted.named(held, asked, answer):
        raise MemoryError("no room\nat all")
    assert caught.value.got == "no room" and caught.value.hint is not None
    return caught.value.hint


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(exhausted, "available", lambda: free)


def held(dtype: str = "fp32", **more: Any) -> Held:
    return Held(open_checkpoint(SOURCE), dtype, **more)


def needed(dtype: str, tokens: int) -> int:
    entries = layout(open_checkpoint(SOURCE).config)
    return sum(predict(entries, dtype, Asked(rows=8, tokens=tokens)).values())


def test_the_first_setting_that_is_predicted_to_fit_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half, shorter = needed("bf16", 300), needed("bf16", 300 - 128)
    room(monkeypatch, half + 1)
    assert hint(held()).startswith("predicted to fit: --dtype bf16 (")
    room(monkeypatch, half)
    assert "--dtype bf16, --max-new-tokens 128 (" in hint(held())
    assert hint(held("bf16")).startswith("predicted to fit: --max-new-tokens 128 (")
    room(monkeypatch, shorter)
    assert "--max-new-tokens 64 (" in hint(held("bf16"))
    room(monkeypatch, 0)
    assert hint(held()).startswith("no number format")


def test_exact_answers_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 10**12)
    assert "--dtype" not in hint(held(exact=True))


def test_weights_in_memory_count_for_those_that_would_replace_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = needed("bf16", 300)
    room(monkeypatch, 0)
    assert hint(held(held=half + 1)).startswith("predicted to fit: --dtype bf16 (")


def test_a_shared_cache_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    room(monkeypatch, 400_000_000)
    assert "--cache-gb 0.3 (" in hint(held("bf16", cache_bytes=600_000_000))


@pytest.mark.parametrize("error", ERRORS)
def test_opening_answering_and_scoring_name_it(
    error: Exception, lm: LocalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **more: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(built, "build", full)
        with pytest.raises(MemoryLimitError, match="the model does not fit"):
            LocalLM.open(SOURCE, device="cpu", dtype="fp32")
    monkeypatch.setattr(lm.engine, "_batch", full)
    monkeypatch.setattr(local, "score", full)
    with pytest.raises(MemoryLimitError, match="memory ran out"):
        complete(lm, [Request("Hello", 8)])
    with pytest.raises(MemoryLimitError, match="memory ran out"):
        lm.score([("Hello", " there")])


def test_other_failures_stay_what_they_are(lm: LocalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(lm.engine, "_batch", wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        complete(lm, [Request("Hello", 8)])


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is read from /proc")
def test_the_command_under_a_limit_says_what_it_is(tmp_path: Path) -> None:
    """preset:gpt2-large has 3.1 GB of weights in float32."""
    code = (
        "import resource, sys, torch, tutelage.backends.local\n"
        "from tutelage.machine.memory import _status\n"
        "used = _status('VmSize')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)\n"
        "from tutelage.__main__ import main\n"
        "sys.argv[1:] = ['generate', 'preset:gpt2-large', 'x', '--json', '--dtype', 'fp32']\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert '"kind": "memory"' in done.stdout and "is a defect" not in done.stderr
    assert "Traceback" not in done.stderr
