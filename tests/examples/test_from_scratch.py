"""The studies of examples/from_scratch: their page and pictures; the whole in small when long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.style.sources import ROOT

FOLDER = ROOT / "examples" / "from_scratch"
STUDIES = ("prose", "domain", "encoders", "families", "scaling")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (FOLDER, ROOT / "examples"):
        monkeypatch.syspath_prepend(str(folder))


def measured(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 9}


def written(folder: Path) -> dict[str, Any]:
    """A result of the first study, as that writes it."""
    curve = [{"step": n, "seconds": 3.0 * n, "loss": 5 / n} for n in range(1, 9)]
    model = {
        "parameters": 1_200_000, "tokens": 3_400_000, "bits_per_byte": {"a book": measured(1.8)},
        "curve": curve, "steps": 8, "processor_seconds": 240.0,
    }  # fmt: skip
    result = {
        "study": "prose", "smoke": False, "text": "books", "machine": "a <machine>",
        "training": {"runs": 2, "hours": 1.5, "processor_hours": 1.25, "flops": 3e14},
        "decoder": model, "lstm": model,
        "baselines": {"a book": {"xz": {**measured(2.0), "low": None}, "gzip": measured(3.0)}},
        "n_grams": {"512": {"a book": measured(1.9)}},
    }  # fmt: skip
    (folder / "prose.json").write_text(json.dumps(result), encoding="utf-8")
    return result


def drawn(results: Path, docs: Path) -> str:
    command = [sys.executable, FOLDER / "draw.py", "--results", results, "--docs", docs]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return (docs / "from_scratch.md").read_text(encoding="utf-8")


def test_the_page_shows_what_was_found_and_says_what_was_not_run(tmp_path: Path) -> None:
    written(tmp_path)
    page = ROOT / "docs" / "from_scratch.md"
    (tmp_path / "from_scratch.md").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    found = drawn(tmp_path, tmp_path)
    assert "| xz | 2.000 |" in found and "1.800 (1.700 to 1.900)" in found
    assert "decoder +10.0% on a book" in found, "10% below xz"
    assert "1.25 processor hours" in found
    assert found.count("Not run yet") == len(STUDIES) - 1
    assert drawn(tmp_path, tmp_path) == found, "drawn again it is the same"
    picture = ElementTree.parse(tmp_path / "from_scratch" / "prose.svg").getroot()
    assert len(picture.findall("{*}polyline")) == 2


def test_the_page_in_docs_is_that_of_the_results(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "from_scratch.md").read_text(encoding="utf-8")
    (tmp_path / "from_scratch.md").write_text(page, encoding="utf-8")
    assert drawn(FOLDER / "results", tmp_path) == page


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_chart_places_points_in_order(logarithmic: bool) -> None:
    from chart import Line, chart

    points = [(1.0, 0.5), (30.0, 0.25), (1000.0, 1e-3)]
    text = chart([Line("a & b", points), Line("c", points[:1], marks=True)], "x", "y", logarithmic)
    line = ElementTree.fromstring(text).find("{*}polyline")
    assert line is not None and "a &amp; b" in text
    places = [tuple(map(float, one.split(","))) for one in line.attrib["points"].split()]
    assert sorted(places) == places and sorted(y for _, y in places) == [y for _, y in places]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_whole_in_small(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "run.py", "--smoke", "--work", tmp_path, "--threads", "2"]
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)
    for name in STUDIES:
        found = json.loads((tmp_path / "smoke" / "results" / f"{name}.json").read_text("utf-8"))
        assert found["smoke"] and found["training"]["processor_hours"] > 0
