"""The page of `tutelage pretrain`: from its record alone, whole or not at all, nothing fetched."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.lifecycle.test_report import Page
from tutelage.cli.report import report
from tutelage.config import validate
from tutelage.errors import GuardError
from tutelage.lifecycle import raised
from tutelage.pretrain.config import PretrainConfig
from tutelage.pretrain.run import pretrain


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps on two sources, with compressors beside it."""
    made = tmp_path_factory.mktemp("raised")
    sources = {}
    for name, word in (("letters", "abc"), ("numbers", "123")):
        lines = (f"{word} {number * number} {word[::-1]}" for number in range(60))
        sources[name] = str(made / f"{name}.txt")
        Path(sources[name]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = {
        "name": "small <b>run</b>",
        "model": {"depth": 1, "context": 16},
        "tokenizer": {"vocabulary": 280},
        "data": {"train": sources, "unit": "line", "baselines": True},
        "training": {"steps": 4, "batch_tokens": 64, "samples": ["</script> 12"]},
    }
    out = made / "out"
    pretrain(validate(PretrainConfig, asked), out, device="cpu", dtype="fp32", threads=1)
    return out


@pytest.fixture
def record(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(raised, "get_plotlyjs", lambda: "")
    return report(folder)


def test_the_page_shows_what_was_measured(folder: Path, record: dict[str, Any]) -> None:
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.visible.split())
    assert f"{record['parameters']:,} parameters on 256 tokens" in text
    for domain in ("letters", "numbers"):
        found, others = record["bits_per_byte"][domain], record["baselines"][domain]
        interval = f"{found['low']:.3f} to {found['high']:.3f}"
        assert f"{domain} {found['value']:.3f} {interval}" in text
        assert all(f"{one['value']:.3f}" in text for one in others.values())
        step = record["data"][domain]["funnel"][-1]
        left = step["reasons"]["held-out"]
        assert f"{step['rows_in']} {step['rows_out']} 0 held-out {left}" in text
    assert "one stream of bytes" in text, "why a compressor has no interval"
    assert record["mfu_convention"] in text and f"{record['mfu']:.1%}" in text
    assert text.count("</script> 12") == 4 + 1, "at each step and in the settings, as text"
    found_sections = [each["id"] for tag, each in page.elements if tag == "section"]
    assert found_sections == ["loss", "held-out", "samples", "speed", "plan", "data", "run"]


def test_nothing_of_it_is_run_or_fetched(folder: Path, record: dict[str, Any]) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>run</b>" not in html
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", html)
    assert "default-src 'none'" in Page(html).policy()
    assert len(Page(html).scripts) == 3, "the chart's data, and the two that draw it"


def test_a_record_that_lacks_something_gives_no_page(record: dict[str, Any]) -> None:
    for name in raised.SHOWN:
        less = copy.deepcopy(record)
        del less[name]
        with pytest.raises(GuardError, match="cannot be shown") as caught:
            raised.render(less)
        assert caught.value.field == name


def test_the_same_record_gives_the_same_page(folder: Path, record: dict[str, Any]) -> None:
    first = (folder / "report.html").read_text(encoding="utf-8")
    report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == first
