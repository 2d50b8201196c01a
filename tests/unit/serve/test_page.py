"""The chat page: its own files alone, under rules that let nothing else in, and in a browser."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tutelage.backends.local import LocalLM
from tutelage.backends.scripted import ScriptedLM
from tutelage.serve import pages

from .serving import KEY, SECONDS, SteppedLM, get, serving

ASSETS = Path(pages.__file__).parent / "page"


def test_every_file_is_served_and_asks_for_nothing_else(scripted: ScriptedLM) -> None:
    with serving({"model": scripted}) as address:
        page = get(f"{address}/")
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert sorted(linked) == ["/page/chat.js", "/page/style.css"]
        for path in ["/", *linked]:
            found = get(f"{address}{path}")
            assert found.status_code == 200
            assert "default-src 'none'" in found.headers["content-security-policy"]
            assert found.headers["x-content-type-options"] == "nosniff"
        for path in ("/page/nothing.js", "/page/../run.py", "/page/index.html"):
            assert get(f"{address}{path}").status_code == 404


def test_no_address_and_no_markup_from_outside() -> None:
    files = list(ASSETS.iterdir())
    assert {file.name for file in files} == {"index.html", "style.css", "chat.js"}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "//" not in re.sub(r"^ *//.*|  // .*", "", text, flags=re.MULTILINE)
        assert "innerHTML" not in text and "eval(" not in text
        assert not re.search(r"<script>|<style>| on\w+=| style=", text)


def test_behind_a_key_the_browser_asks_for_it() -> None:
    with serving({"model": SteppedLM()}, key=KEY) as address:
        refused = get(f"{address}/")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
        word = base64.b64encode(f"anyone:{KEY}".encode()).decode()
        for path in ("/", "/v1/models"):
            found = get(f"{address}{path}", headers={"Authorization": f"Basic {word}"})
            assert found.status_code == 200
        assert get(f"{address}/v1/models").headers["www-authenticate"] == "Bearer"


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of Debian's Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium here")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        yield page
        assert page.errors == []
        browser.close()


@pytest.mark.long
def test_a_conversation_in_a_browser(page: Any, tmp_path: Path) -> None:
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    with serving({"model": lm}) as address:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        page.fill("[name=max_tokens]", "30")
        page.fill("[name=temperature]", "0.7")
        page.fill("#turn", "Hello")
        page.press("#turn", "Enter")
        page.wait_for_selector(".assistant .note")
        tokens = page.query_selector_all(".assistant .token")
        assert tokens and page.inner_text(".user") == "Hello"
        tokens[0].hover()
        assert "chosen" in page.inner_text("#why") and "%" in page.inner_text("#why")
        page.screenshot(path=str(tmp_path / "chat.png"))


@pytest.mark.long
def test_stop_and_markup_in_a_browser(page: Any) -> None:
    """A model without log-probabilities still talks; what it says is text, and stop stops it."""
    lm = SteppedLM()
    with serving({"model": lm}) as address:
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        page.fill("[name=max_tokens]", "50")
        page.fill("#turn", "<b>bold</b>")
        page.press("#turn", "Enter")
        for _ in range(3):
            lm.allowed.release()
        page.locator(".assistant", has_text="word word").wait_for()
        page.click("#stop")
        page.wait_for_selector(".assistant .note")
        assert page.inner_text(".assistant .note") == "stopped"
        assert page.inner_text(".user") == "<b>bold</b>"
        assert lm.ended.acquire(timeout=SECONDS)
