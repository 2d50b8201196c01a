"""The studies of examples/adaptation: what they ask, and the whole in small when long."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.style.sources import ROOT
from tutelage.claims.entries import entries
from tutelage.data.rows import Row
from tutelage.evaluate.in_context import conditions
from tutelage.lm import Message
from tutelage.prompts.few_shot import Example

FOLDER = ROOT / "examples" / "adaptation"
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (FOLDER, ROOT / "examples"):
        monkeypatch.syspath_prepend(str(folder))


@pytest.mark.skipif(not (DATA / "blimp").is_dir(), reason="the data are not here")
def test_questions_of_every_kind_have_one_right_choice() -> None:
    from flan import TEMPLATES, asks, prompt_of  # type: ignore[import-not-found]

    kinds = asks(DATA, 50, smoke=False)
    assert set(kinds) == set(TEMPLATES)
    for kind, found in kinds.items():
        for ask in found:
            assert len(ask.choices) >= 2 and 0 <= ask.right < len(ask.choices)
            assert len(set(ask.choices)) == len(ask.choices) and all(ask.choices)
            prompt = prompt_of(ask, kind, "instructions")
            assert ask.text in prompt and "{options}" not in prompt
            assert prompt == prompt_of(ask, kind, "instructions")
        used = {prompt_of(ask, kind, "bare") for ask in found}
        assert len(used) > len(found) // 2
        rights = {ask.right for ask in found}
        assert len(rights) > 1, kind


@pytest.mark.long
@pytest.mark.skipif(not (DATA / "blimp").is_dir(), reason="the data are not here")
def test_the_whole_in_small(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "run.py", "--smoke", "--threads", "1", "--work", tmp_path]
    command += ["--only", "flan"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    found = json.loads((tmp_path / "smoke" / "results" / "flan.json").read_text("utf-8"))
    assert found["smoke"] and set(found["left_out"]) == set(found["clusters"])
    for one in found["left_out"].values():
        assert one["before"]["accuracy"]["n"] == one["n"]
        assert one["instructions"]["against_before"]["p_value"] <= 1


@pytest.mark.parametrize(("best", "tried", "at"), [(0.01, 3, 0), (0.17, 5, 2), (1e-4, 6, -3)])
def test_the_grid_of_rates_is_widened_until_the_best_lies_inside(
    best: float, tried: int, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round's loss is a parabola of the rate's logarithm; no step is made twice."""
    import halving  # type: ignore[import-not-found]
    from tasks import Task  # type: ignore[import-not-found]

    made: list[tuple[int, int]] = []

    class Fake(halving.Search):  # type: ignore[misc]
        @property
        def default(self) -> float:
            return 0.01

        def _round(self, power: int, number: int) -> tuple[float, float]:
            made.append((power, number))
            return 0.0, float((math.log(self._rate(power)) - math.log(best)) ** 2)

        def _tuned(self, power: int, number: int) -> dict[str, Any]:
            return {"power": power}

    task = Task("t", "m", "f1", (), (), steps=8, batch_tokens=64)
    found = Fake(task, "lora", {}, tmp_path, 1).best()
    assert found["result"] == {"power": at} and not found["at_edge"]
    assert len(made) == len(set(made)), "a round of a rate is run once"
    assert [sum(number == turn for _, number in made) for turn in (1, 2)] == [tried // 2, 1]
    assert sum(number == 0 for _, number in made) == tried


def test_rates_of_tags_are_judged_by_answers_and_by_loss_among_equals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best by answers lost most; nobody tries a rate above the highest."""
    import halving
    from tasks import Task

    rows = (Row("1", "F:1", (Message("user", "a"),), "b"),)
    task = Task("t", "m", "f1", rows, (), steps=80, batch_tokens=64, held=rows)
    made: list[tuple[str, int]] = []

    def tuned(*given: Any, **_: Any) -> dict[str, Any]:
        config, out = given[2:4]
        made.append((out.name, config.steps))
        loss = -config.learning_rate
        return {"curve": [{"step": n + 1, "loss": loss} for n in range(config.steps)], "out": out}

    monkeypatch.setattr(halving, "tune", tuned)
    monkeypatch.setattr(halving.Search, "_right", lambda self, out: float("rate-1" in out.name))
    found = halving.Search(task, "prefix-tuning", {}, tmp_path / "a", 1).best()
    assert found["out"].name == "rate-1-1" and found["widened"] == 1
    assert found["rates"][1] == {"rate": 0.0025, "losses": [-0.0025] * 2, "right": [1.0] * 2}
    assert [steps for name, steps in made if name.startswith("rate-1-")] == [40, 80, 80]

    monkeypatch.setattr(halving.Search, "_right", lambda self, out: 0.0)
    found = halving.Search(task, "prompt-tuning", {}, tmp_path / "b", 1).best()
    tried = [one["rate"] for one in found["rates"]]
    assert tried == [0.0075, 0.03, 0.12, 0.48, 0.9] and found["result"]["out"].name == "rate3-1"


def test_each_mitigation_changes_one_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mitigations  # type: ignore[import-not-found]
    from studies import Place  # type: ignore[import-not-found]
    from tasks import Task

    rows = tuple(Row(str(n), f"F:{n}", (Message("user", "a"),), "b") for n in range(18))
    made: dict[str, tuple[Any, Any]] = {}
    monkeypatch.setattr(mitigations, "task", lambda *_: Task("t", "m", "f1", rows, (), 8, 64))
    monkeypatch.setattr(mitigations, "untuned", lambda *_: None)
    monkeypatch.setattr(mitigations, "replay", lambda *_: rows)
    monkeypatch.setattr(
        mitigations, "once", lambda task, file, config, _: made.update({file.stem: (task, config)})
    )
    found = mitigations.run(Place(tmp_path, tmp_path, 1, smoke=False))
    assert list(found["ways"]) == list(mitigations.WAYS) and len(made) == len(mitigations.WAYS)
    plain = made["full"][1]
    more = {"full-replay": 20, "full-threetasks": 3 * 18}
    assert {name: len(task.train) for name, (task, _) in made.items()} == {
        name: more.get(name, 18) for name in made
    }
    assert all(made[name][1] == plain for name in more)
    for name, change in (
        ("full-pulled", {"pull": 100.0}),
        ("full-halftheway", {"interpolate": 0.5}),
    ):
        assert made[name][1] == plain.model_copy(update=change)
    ranks = [made[name][1].options["rank"] for name in ("lora-R=16", "lora-R=2")]
    assert ranks == [16, 2]


@pytest.mark.long
def test_mitigations_in_small(tmp_path: Path) -> None:
    command = [sys.executable, FOLDER / "run.py", "--smoke", "--threads", "1", "--work", tmp_path]
    command += ["--only", "mitigations"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    results = tmp_path / "smoke" / "results"
    found = json.loads((results / "mitigations.json").read_text("utf-8"))
    for name, one in found["ways"].items():
        assert one["forgetting"]["loss"]["n"] > 0 and one["quality"]["n"] == 4, name
    page = "<!-- results: mitigations -->\n<!-- end -->\n"
    (tmp_path / "adaptation_compared.md").write_text(page, encoding="utf-8")
    command = [sys.executable, FOLDER / "draw.py", "--docs", tmp_path, "--results", results]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    drawn = (tmp_path / "adaptation_compared.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in drawn for name in found["ways"])


def test_the_page_in_docs_is_that_of_the_results(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "adaptation_compared.md").read_text(encoding="utf-8")
    (tmp_path / "adaptation_compared.md").write_text(page, encoding="utf-8")
    command = [sys.executable, FOLDER / "draw.py", "--docs", tmp_path]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    assert (tmp_path / "adaptation_compared.md").read_text(encoding="utf-8") == page
    for study in (
        "docstrings", "ner", "sweeps", "dialogues", "ner-decoder", "mitigations", "prompts", "flan",
    ):  # fmt: skip
        assert f"<!-- results: {study} -->" in page


def test_claims_are_read_from_cells_that_the_studies_have() -> None:
    import methods  # type: ignore[import-not-found]
    import mitigations  # type: ignore[import-not-found]
    import prompts  # type: ignore[import-not-found]
    import run  # type: ignore[import-not-found]
    import sweeps  # type: ignore[import-not-found]
    from tasks import Task  # type: ignore[import-not-found]

    compared = {f"methods.{name}" for name in methods.METHODS_COMPARED}
    cells = sweeps._cells(Task("ner", "m", "span_f1", (), (), 1, 1))
    has = {
        "sweeps": {name.replace("/", ".", 1) for name in cells},
        "mitigations": {f"ways.{name}" for name in mitigations.WAYS},
        "prompts": {f"tasks.{name}" for name in prompts.TASKS}
        | {f"toxic.conditions.{name}" for name in conditions([Example((), "a")] * 2, ("a", "b"))},
        **dict.fromkeys(("docstrings", "ner", "dialogues", "ner-decoder"), compared),
    }
    paired = ("tuned_over_shown", "shown_once_tuned", "difference")
    asked = [one for one in entries() if one.study]
    assert len(asked) >= 5
    for one in asked:
        folder, name = one.study.split("/")
        assert folder == "adaptation" and name in run.STUDIES
        assert (one.minus is None) == (name == "prompts"), "which says differences itself"
        for path in filter(None, (one.path, one.minus)):
            cell, _, asked_of_it = path.removesuffix(".loss").rpartition(".")
            assert cell in has[name], (one.id, cell)
            assert asked_of_it in (paired if name == "prompts" else ("quality", "forgetting"))
