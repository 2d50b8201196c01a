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
    difference,
    entries,
    find,
    found_in,
    judged,
    verdict,
)
from tutelage.claims.kept import kept
from tutelage.claims.studies import studied
from tutelage.cli import claims as claims_verb
from tutelage.cli.claims import one
from tutelage.cli.main import run_command
from tutelage.errors import UnknownName, WorkError

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
        ((Claimed("m", high=2),), -9.0, "holds"),
        ((Claimed("l", low=2),), 1.0, "does not hold here"),
        ((A,), None, "not run"),
    ],
)
def test_the_verdict_follows(
    claimed: tuple[Claimed, ...], value: float | str | None, expected: str
) -> None:
    assert verdict(entry(*claimed), Found(value)) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.3, -0.1, "holds"), (-0.3, 0.0, "holds"), (-0.2, 0.1, "cannot tell"),
        (0.1, 0.3, "does not hold here"),
    ],
)  # fmt: skip
def test_an_interval_may_leave_it_open(low: float, high: float, expected: str) -> None:
    found = Found((low + high) / 2, low=low, high=high)
    assert verdict(entry(Claimed("less", high=0.0)), found) == expected
    assert judged(entry(Claimed("less", high=0.0)), found)["interval"] == [low, high]


def test_what_was_not_run_is_told_from_what_cannot_be() -> None:
    waiting = Entry("id", "It is.", "measurement", (A,), "tune x", "loss")
    pattern = Entry("id", "It is.", "measurement", (), "tune MODEL --data F")
    lacking = Entry("id", "It is.", "measurement", (), "rlhf MODEL", needs="rewards")
    said = [judged(one, None) for one in (waiting, pattern, lacking)]
    assert [one["verdict"] for one in said] == ["not run", "not run", "not testable here"]
    assert said[0]["note"] == "would be run by: tutelage claims id --run"
    assert said[1]["note"] == "would be run by: tutelage tune MODEL --data F"
    assert said[2]["note"] == "needs rewards"


def test_an_interval_of_a_difference() -> None:
    """Of two symmetric ones it is that of independent errors; crooked ends keep their sides."""
    found = difference(
        {"value": 5.0, "low": 2.0, "high": 8.0}, {"value": 1.0, "low": -3.0, "high": 5.0}
    )
    assert (found.value, found.low, found.high) == (4.0, -1.0, 9.0)
    crooked = difference({"value": 0.0, "low": -3, "high": 0}, {"value": 0.0, "low": 0, "high": 4})
    assert (crooked.low, crooked.high) == (-5.0, 0.0)


def test_a_claim_read_from_a_study(tmp_path: Path) -> None:
    """A part that was not done, refused or run in small says nothing; nor does a lacking file."""
    asked = Entry(
        "id", "It is.", "measurement", (Claimed("s", low=-0.01),), path="ranks.q, v:4.quality",
        minus="ranks.q, v:64.quality", study="adaptation/sweeps",
    )  # fmt: skip
    assert studied(asked, tmp_path) is None
    quality = {"value": 0.5, "low": 0.48, "high": 0.52, "n": 300}
    small = {"quality": {**quality, "value": 0.4, "low": 0.38, "high": 0.42}}
    about = {"study": "sweeps", "smoke": False, "machine": "a CPU", "commit": "0123456789"}
    file = tmp_path / "adaptation" / "results" / "sweeps.json"
    file.parent.mkdir(parents=True)
    done = {"q, v:4": {"quality": quality, "forgetting": None}, "q, v:64": small}
    for ranks, less in (
        ({**done, "q, v:64": None}, {}), ({**done, "q, v:64": {"refused": "no"}}, {}),
        (done, {"smoke": True}),
    ):  # fmt: skip
        file.write_text(json.dumps({**about, **less, "ranks": ranks}))
        assert studied(asked, tmp_path) is None
    file.write_text(json.dumps({**about, "ranks": done}))
    found = judged(asked, studied(asked, tmp_path))
    assert found["verdict"] == "holds" and found["value"] == pytest.approx(0.1)
    assert found["note"] == "measured by the study on a CPU, commit 01234567"
    assert found["command"] == "python examples/adaptation/run.py --only sweeps"


def test_a_measured_value_brings_its_interval() -> None:
    """As a paired difference, which is narrower than one of two values."""
    asked = Entry("id", "It is.", "measurement", (Claimed("s", low=0.0),), path="gap", study="a/b")
    found = found_in(asked, {"gap": {"value": 0.02, "low": -0.01, "high": 0.05}})
    assert (found.value, found.low, found.high) == (0.02, -0.01, 0.05)
    assert judged(asked, found)["verdict"] == "cannot tell"
    assert (
        judged(asked, found_in(asked, {"gap": {"value": 0.02, "low": 0.01, "high": 0.05}}))[
            "verdict"
        ]
        == "holds"
    )


def test_values_are_found_by_their_path() -> None:
    answer = {"a": [{"b": 6}], "c": 4}
    assert found_in(entry(path="a.0.b"), answer).value == 6
    assert found_in(entry(path="a.0.b", over="c", times=2.0), answer).value == 3.0
    found = judged(entry(A, path="c"), found_in(entry(path="c"), answer))
    assert (found["value"], found["expected"], found["verdict"]) == (4, 4.0, "holds")
    assert found["command"] == "tutelage plan"


def test_a_ratio_to_another_command() -> None:
    ratio = entry(path="c", against="plan y")
    assert found_in(ratio, {"c": 4}, {"c": 8}).value == 0.5
    with pytest.raises(WorkError, match="a ratio to 0"):
        found_in(ratio, {"c": 4}, {"c": 0})


def test_a_difference_to_another_command() -> None:
    wanted = entry(Claimed("less", high=0.0), path="lost", against="plan y", minus="lost")
    none = {"lost": {"value": 0.0, "low": -0.1, "high": 0.1}}
    some = {"lost": {"value": 1.0, "low": 0.9, "high": 1.1}}
    assert verdict(wanted, found_in(wanted, none, some)) == "holds"
    assert verdict(wanted, found_in(wanted, none, none)) == "cannot tell"


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
    assert waiting["note"] == "would be run by: tutelage claims id --run"
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
        assert one.needs or one.command or one.study
        assert not (one.study and one.command), "either is the command that is shown"
        assert (one.recorded is None) == (not one.when), "a number says when it was measured"


@pytest.mark.parametrize("id", [i for i, e in LEDGER.items() if e.kind == "formula"])
def test_a_formula_is_evaluated(id: str) -> None:
    found = one(LEDGER[id])
    assert found["value"] is not None and found["verdict"] not in ("not testable here", "not run")


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
