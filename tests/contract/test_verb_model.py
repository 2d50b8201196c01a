"""`model show`, `model pull` and `tune`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.command import HERE, Called, called
from tests.contract.keys import check, check_measured
from tutelage.peft import METHODS

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


def test_model_export_and_verify(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    given = ("--to", "gguf", "--type", "q8_0", "--out", str(file))
    code, found, _ = called("model", "export", TINY, *given)
    assert code == 0
    check("model export", found)
    assert found["bytes"] == file.stat().st_size and len(found["sha256"]) == 64
    code, found, _ = called("model", "verify", TINY, str(file), "--threads", "1")
    assert code == 0 and found["equal"]
    check("model verify", found)


def test_quantize(tmp_path: Path) -> None:
    given = ("--bits", "4", "--texts", "2", "--threads", "1")
    code, found, _ = called("quantize", TINY, *given, "--out", str(tmp_path / "few"))
    assert code == 0 and set(found["perplexity"]) == {"before", "after"}
    check("quantize", found)
    check_measured(found["kl"])
    check_measured(found["loss_rise"])


NAMED = "full bitfit lora dora qlora adapter ia3 prefix-tuning prompt-tuning p-tuning"


def test_methods_that_are_named_are_there() -> None:
    assert {*NAMED.split()} <= {*METHODS.names()}


@pytest.mark.parametrize("method", METHODS.names())
def test_tune(method: str, rows: str, tmp_path: Path) -> None:
    """Every method: its object, and that what it wrote answers."""
    given = ("tune", TINY, "--data", rows, "--method", method, "--steps", "2", *HERE)
    code, found, _ = called(*given, "--out", str(tmp_path / "out"))
    assert code == 0
    check("tune", found)
    assert (Path(found["out"]).is_dir(), found["method"]) == (True, method)
    check("tune rows", found["rows"])
    assert (found["rows"]["used"] > 0, found["rows"]["set_aside"]) == (True, 0)
    check("tune loss", found["loss"])
    assert all(0 < found["loss"][when] < 10 for when in ("first", "last"))
    for key in ("trained_parameters", "trained_tokens", "peak_bytes", "predicted_peak_bytes"):
        assert isinstance(found[key], int) and found[key] > 0, key
    assert found["seconds"] > 0
    check_measured(found["forgetting"])
    adapter = ("--adapter", found["out"]) if METHODS.get(method).adapter else ()
    source = TINY if adapter else found["out"]
    few = ("--max-new-tokens", "3", *HERE)
    code, said, _ = called("generate", source, "Backwards 1: red", *adapter, *few)
    assert code == 0
    check("generate", said)
    assert said["completion_tokens"] <= 3 and said["finish_reason"] in ("stop", "length")


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
