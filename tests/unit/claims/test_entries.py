"""Verdicts follow from numbers; every entry has what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.claims import kept as kept_module
from tutelage.claims.entries import (
    Claimed,
    Entry,
    Found,
    entries,
    find,
    judged,
    value_of,
    verdict,
)
from tutelage.claims.kept import kept
from tutelage.cli import claims as claims_verb
from tutelage.cli.claims import one
from tutelage.cli.main import run_command
from tutelage.errors import UnknownName

A, B = Claimed("a", 4.0), Claimed("b", 5.0, within=0.01)


def entry(*claimed: Claimed, path: str = "x", **more: float | str) -> Entry:
    return Entry("id", "It is.", "formula", claimed, "plan", path, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("claimed", "value", "expected"),
    [
        ((A,), 4.0, "holds"),
        ((A,), 4.01, "does not hold here"),
        ((B,), 5.04, "holds"),
        ((B,), 5.06, "does not hold here"),
        ((A, B), 4.0, "sources disagree"),
        ((A, B), 4.5, "does not hold here"),
        ((Claimed("r", low=1, high=2),), 1.5, "holds"),
        ((Claimed("r", low=1, high=2),), 2.5, "does not hold here"),
        ((Claimed("t", "0110"),), "0110", "holds"),
        ((Claimed("t", "0110"),), "0111", "does not hold here"),
        ((A,), None, "not testable here"),
        ((), 4.0, "not testable here"),
    ],
)
def test_the_verdict_follows(
    claimed: tuple[Claimed, ...], value: float | str | None, expected: str
) -> None:
    assert verdict(entry(*claimed), value) == expected


def test_values_are_found_by_their_path() -> None:
    answer = {"a": [{"b": 6}], "c": 4}
    assert value_of(entry(path="a.0.b"), answer) == 6
    assert value_of(entry(path="a.0.b", over="c", times=2.0), answer) == 3.0
    found = judged(entry(A, path="c"), Found(value_of(entry(path="c"), answer)))
    assert (found["value"], found["expected"], found["verdict"]) == (4, 4.0, "holds")
    assert found["command"] == "tutelage plan"


def test_a_ratio_to_another_command() -> None:
    assert value_of(entry(path="c", against="plan y"), {"c": 4}, {"c": 8}) == 0.5


def test_commands_run_in_one_folder_and_results_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kept_module, "commit", lambda: "abc")
    asked: list[str] = []

    def answer(line: str) -> dict[str, float]:
        asked.append(line)
        return {"x": float(len(asked))}

    monkeypatch.setattr(claims_verb, "_answer", answer)
    measured = Entry(
        "id", "It is.", "measurement", (Claimed("a", 2 / 3),), "b {folder}/q", "x",
        before=("a {folder}/p",), against="c", when="", needs="",
    )  # fmt: skip
    waiting = one(measured)
    assert waiting["value"] is None and not asked, "nothing is run unasked"
    assert waiting["note"] == "not taken yet: tutelage claims id --run"
    found = one(measured, run=True)
    assert found["value"] == pytest.approx(2 / 3) and "commit abc" in found["note"]
    folders = {line.split()[1].rpartition("/")[0] for line in asked[:2]}
    assert len(folders) == 1 and "{" not in folders.pop()
    assert found["command"] == "tutelage a {folder}/p && tutelage b {folder}/q && tutelage c"
    assert kept(measured, of_this_code=True) == kept(measured)
    again = one(measured, run=True, known=kept(measured, of_this_code=True))
    assert again["value"] == found["value"] and len(asked) == 3
    monkeypatch.setattr(kept_module, "commit", lambda: "other")
    assert kept(measured, of_this_code=True) is None and kept(measured) is not None


LEDGER = {entry.id: entry for entry in entries()}


def test_ids_are_their_own() -> None:
    assert len(LEDGER) == len(entries()) >= 80
    with pytest.raises(UnknownName) as raised:
        find("store-fp23")
    assert "store-fp32" in str(raised.value.hint)


@pytest.mark.parametrize("id", LEDGER)
def test_an_entry_has_what_its_kind_needs(id: str) -> None:
    one = LEDGER[id]
    assert one.statement.endswith(".") and (one.sources or one.claimed)
    if one.kind == "formula":
        assert one.computed and one.claimed and one.verdict is None
    if one.kind == "published":
        assert one.verdict and not one.claimed
    if one.kind == "measurement":
        assert one.verdict is None, "a measurement's verdict is measured"
        assert one.needs or one.computed
        assert (one.recorded is None) == (not one.when), "a number says when it was measured"


@pytest.mark.parametrize("id", [i for i, e in LEDGER.items() if e.kind == "formula"])
def test_a_formula_is_evaluated(id: str) -> None:
    found = one(LEDGER[id])
    assert found["value"] is not None and found["verdict"] != "not testable here"


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("gpt3-compute", "sources disagree"),
        ("petaflop-day-a100", "does not hold here"),
        ("petaflop-day-v100", "holds"),
        ("tokens-a-parameter", "sources disagree"),
        ("flops-per-token-course", "holds"),
    ],
)
def test_verdicts_that_were_looked_into(id: str, expected: str) -> None:
    assert one(LEDGER[id])["verdict"] == expected


def test_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["claims", "bert-base", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["claims"]
    assert found["value"] == 109_482_240 and found["verdict"] == "holds"
    assert run_command(["claims", "bert-base"]) == 0
    assert "109482240" in capsys.readouterr().out
    assert run_command(["claims"]) == 0
    assert "not testable here" in capsys.readouterr().out
    assert run_command(["claims", "bert", "--json"]) == 2
