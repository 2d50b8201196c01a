"""SIGKILL at any moment of `tutelage pretrain`: the same call goes on and ends bitwise the same.

A tiny model on a small grammar, with a tokenizer and a token store of several shards of its own,
saving after every step, and saying ten times what it has learnt. Kills fall into all of these.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.campaign import Case, Kills
from tests.faults.conftest import Zygote
from tutelage import store

OPTIMIZERS = ("adamw", pytest.param("muon", marks=pytest.mark.long))
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "far", "away")
VARYING = {
    "out", "model_folder", "tokens_per_second", "mfu", "gemm_flops", "waiting_share", "peak_bytes",
    "predicted_peak_bytes",
}  # fmt: skip
CONFIG = """
[model]
depth = 1
context = 32
[tokenizer]
vocabulary = 300
[data]
unit = "line"
[data.train]
text = "TEXT"
[training]
steps = 10
batch_tokens = 128
learning_rate = 5e-3
optimizer = "OPTIMIZER"
schedule = "wsd"
z_loss = 1e-4
save_seconds = 1e-9
samples = ["the cat"]
"""


@pytest.fixture(scope="module", params=OPTIMIZERS)
def case(
    request: pytest.FixtureRequest, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    """An undisturbed run with one optimizer."""
    folder = tmp_path_factory.mktemp(request.param)
    drawn = torch.randint(len(WORDS), (200, 16), generator=torch.Generator().manual_seed(0))
    lines = (" ".join(f"{WORDS[i]} {WORDS[(5 * i + 1) % 13]}" for i in row) for row in drawn)
    (folder / "text.txt").write_text("\n".join(lines) + "\n")
    file = folder / "pretrain.toml"
    asked = CONFIG.replace("TEXT", str(folder / "text.txt"))
    file.write_text(asked.replace("OPTIMIZER", request.param))
    made = Case.of(zygote, folder / "run", str(file), finished, ending)
    assert made.operations.count("save:rename:step") == 9
    assert made.operations.count("tokens:write:shard-00002.bin") == 1
    return made


def finished(out: Path) -> dict[str, int]:
    """What is made once, and when that was."""
    patterns = [
        "data/*/manifest.json",
        "data/held-out.jsonl",
        "tokenizer/manifest.json",
        "plan.json",
    ]
    if (out / "record.json").exists():
        patterns += ["record.json", "model/*"]
    files = [file for pattern in patterns for file in out.glob(pattern)]
    return {str(file.relative_to(out)): file.stat().st_mtime_ns for file in files}


def ending(out: Path) -> dict[str, Any]:
    """All that a finished run has made, byte for byte; of its record what no clock says."""
    found = {str(file.relative_to(out)) for file in out.rglob("*")}
    assert not [name for name in found if ".tmp-" in name or name.startswith("state")]
    for manifest in out.rglob(store.MANIFEST):
        store.verify(manifest.parent)
    record = json.loads((out / "record.json").read_text())
    record["curve"] = [[point["step"], point["loss"]] for point in record["curve"]]
    assert [step for step, _ in record["curve"]] == list(range(1, 11))
    del record["predicted_memory"]["runtime"]  # what the process held before
    timed = {key for key in record if key in VARYING or "seconds" in key}
    return {
        "record": {key: value for key, value in record.items() if key not in timed},
        "files": {
            name: hashlib.sha256((out / name).read_bytes()).hexdigest()
            for name in sorted(found - {"record.json", ".lock"})
            if (out / name).is_file() and not name.endswith("funnel.html")
        },
    }


def test_a_pretraining_killed_before_kinds_of_durable_operations(
    zygote: Zygote, case: Case, tmp_path: Path
) -> None:
    """Every eighth kind, and the last: the record."""
    kinds = case.kinds()
    Kills(zygote, case, tmp_path).before_each([*kinds[1:-1:8], kinds[-1]])


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_pretraining_killed_at_many_random_moments(
    zygote: Zygote, case: Case, tmp_path: Path
) -> None:
    kills = Kills(zygote, case, tmp_path)
    kills.at_random_moments(50, seed=4)
    assert sum(count for place, count in kills.places.items() if "save" in place) >= 5


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_a_pretraining_killed_before_every_kind_of_durable_operation(
    zygote: Zygote, case: Case, tmp_path: Path
) -> None:
    kills = Kills(zygote, case, tmp_path)
    kills.before_each(case.kinds())
    wanted = {"held-out", "tokenizer", "tokenizer/manifest", "tokens", "tokens/manifest"}
    assert wanted | {"save", "save/manifest", "samples", "manifest"} <= set(kills.places)
