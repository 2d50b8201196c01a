"""Real data sets, where they are at hand: read whole, with nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.data.load import load

SHARED = Path(__file__).parents[4] / "shared" / "data"

SETS = [
    ("gsm8k/train.jsonl.gz", "{question}", "{answer}", 7473, 0),
    ("mts_dialog/MTS-Dialog-TrainingSet.csv", "Summarize: {dialogue}", "{section_text}", 1201, 0),
    ("mmlu/dev", "{question}\nA {choice0} B {choice1} C {choice2} D {choice3}", "{answer}", 285, 0),
    ("llms_from_scratch/instruction-data.json", "{instruction}\n{input}", "{output}", 1100, 0),
    ("truthfulqa/TruthfulQA.csv", "{Question}", "{Best Answer}", 817, 0),
    ("surge_toxicity/toxicity_en.csv", "{text}", "{is_toxic}", 1000, 0),
    ("standard_ebooks", None, None, 10, 0),
    ("medquad", "{question}", "{answer}", 16407, 0),
]


@pytest.mark.parametrize(("name", "prompt", "completion", "rows", "aside"), SETS)
def test_the_set_is_read_whole(
    name: str, prompt: str | None, completion: str | None, rows: int, aside: int
) -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not there: development data is not part of the project")
    loaded = load(str(SHARED / name), prompt=prompt, completion=completion)
    assert (loaded.total, len(loaded.set_aside)) == (rows, aside)


def test_no_hostile_json_gets_through_as_anything_but_a_named_fault(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not there: development data is not part of the project")
    good = b'{"text": "good"}\n'
    files = sorted((SHARED / "hostile" / "json_test_suite" / "test_parsing").iterdir())
    refused = 0
    for file in files:
        path = tmp_path / "hostile.jsonl"
        line = file.read_bytes()
        if b"\n" in line or b"\r" in line:
            continue  # more than one line of a JSON lines file
        path.write_bytes(good + line + b"\n" + good)
        loaded = load(str(path))
        assert len(loaded.rows) == 2
        assert loaded.total == 2 + len(loaded.set_aside)
        reasons = set(loaded.reasons())
        if file.name.startswith("n_") and line.strip():
            assert reasons <= {"bad-json", "bad-utf8"} and reasons, file.name
            refused += 1
        if file.name.startswith("y_"):
            assert not reasons & {"bad-utf8"}, file.name
    assert refused > 150
