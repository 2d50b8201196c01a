"""The search for settings: what is proposed, when a trial ends, going on, and the range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.train.rows import SOURCE, config, rows_of
from tutelage.data.rows import Row
from tutelage.data.split import Sizes, split
from tutelage.errors import ConfigError, DamagedError, DataError, GuardError, RequestError
from tutelage.train import search as module
from tutelage.train.search import Asked, search

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
WHERE: dict[str, Any] = {"device": "cpu", "dtype": "fp32", "threads": 1}


def scored(monkeypatch: pytest.MonkeyPatch, loss: Any) -> list[float]:
    """Trials that train nothing: the loss after each of four rungs as a function of the rate."""
    tried: list[float] = []

    def rungs(self: Any, rate: float, options: dict[str, Any]) -> Any:
        tried.append(rate)
        for rung in range(1, 5):
            yield round(self._total * rung / 4), loss(rate, rung, options)

    monkeypatch.setattr(module._Search, "_scored", rungs)
    return tried


def found(out: Path, **asked: Any) -> dict[str, Any]:
    settings = config(steps=8)
    return search(SOURCE, rows_of(20), settings, Asked(**asked), out, **WHERE)


def test_the_best_of_real_runs_is_better_than_the_worst(tmp_path: Path) -> None:
    result = found(tmp_path / "s", trials=4, rungs=2)
    losses = [trial["loss"] for trial in result["trials"]]
    assert len(losses) >= 4 and result["best"]["loss"] == min(
        t["loss"] for t in result["trials"] if t["status"] == "done"
    )
    assert result["trials"][0]["settings"]["learning_rate"] == pytest.approx(2e-3)
    assert len({t["settings"]["learning_rate"] for t in result["trials"]}) == len(losses)
    assert result["development"] == 3 and result["best"]["steps"] == 8


def test_bad_trials_end_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, lambda rate, rung, options: abs(rate - 2e-3) * 1000 + 1 / rung)
    result = found(tmp_path / "s", trials=10)
    early = [t for t in result["trials"] if t["status"] == "ended early"]
    assert early and all(t["steps"] < 8 for t in early)
    assert result["best"]["status"] == "done" and result["at_edge"] is False
    assert result["best"]["settings"]["learning_rate"] == pytest.approx(2e-3)


@pytest.mark.parametrize("best", [2e-5, 1e-1])
def test_the_range_is_widened_until_the_best_is_inside(
    best: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import math

    tried = scored(monkeypatch, lambda rate, rung, options: abs(math.log(rate / best)))
    result = found(tmp_path / "s", trials=9)
    assert min(tried) < 2e-3 / 8 or max(tried) > 2e-3 * 8
    assert len(result["trials"]) > 9 and result["at_edge"] is False
    assert result["best"]["settings"]["learning_rate"] == pytest.approx(best, rel=2.0)


def test_a_search_that_stopped_goes_on_as_if_it_had_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(rate: float, rung: int, options: dict[str, Any]) -> float:
        return abs(rate - 3e-3) * 100 + options["rank"] / 100

    scored(monkeypatch, loss)
    choices = {"rank": (2, 4, 8)}
    whole = found(tmp_path / "whole", trials=8, choices=choices)
    made: list[int] = []
    settings = config(steps=8)
    asked = Asked(trials=8, choices=choices)
    for _ in range(4):
        made.clear()
        search(
            SOURCE, rows_of(20), settings, asked, tmp_path / "s",
            deadline=lambda: made.append(1) is None and len(made) > 2, **WHERE,
        )  # fmt: skip
    result = found(tmp_path / "s", trials=8, choices=choices)
    assert [t["settings"] for t in result["trials"]] == [t["settings"] for t in whole["trials"]]
    assert result["best"]["settings"] == whole["best"]["settings"]


def test_a_kill_while_the_study_is_written_loses_that_line_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a line, and the library's lock, whose holder is gone."""
    scored(monkeypatch, lambda rate, rung, options: abs(rate - 3e-3) * 100)
    whole = found(tmp_path / "s", trials=6)
    journal = tmp_path / "s" / module.STUDY
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in (len(lines) // 3, len(lines) // 2, len(lines) - 1):
        journal.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        (tmp_path / "s" / f"{module.STUDY}.lock").symlink_to(journal)
        again = found(tmp_path / "s", trials=6)
        assert [t["settings"] for t in again["trials"]] == [t["settings"] for t in whole["trials"]]
        assert again["best"]["settings"] == whole["best"]["settings"]


def test_a_damaged_study_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, lambda rate, rung, options: rate)
    found(tmp_path / "s", trials=2)
    journal = tmp_path / "s" / module.STUDY
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], lines[2][:9], b"\n", *lines[3:]]))
    with pytest.raises(DamagedError) as caught:
        found(tmp_path / "s", trials=2)
    assert caught.value.field == f"{journal}:3"


def test_a_trial_that_was_killed_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[float] = []

    def rungs(self: Any, rate: float, options: dict[str, Any]) -> Any:
        if len(killed) == 1:
            killed.append(rate)
            raise KeyboardInterrupt
        killed.append(rate)
        yield self._total, rate

    monkeypatch.setattr(module._Search, "_scored", rungs)
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "s", trials=3)
    result = found(tmp_path / "s", trials=3)
    assert killed[1] == pytest.approx(killed[2]), "the same settings again"
    assert len(result["trials"]) >= 3


def test_a_rate_at_which_nothing_is_learned_is_the_worst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rungs(self: Any, rate: float, options: dict[str, Any]) -> Any:
        if rate > 2e-3:
            raise GuardError("the loss is not a number")
        yield self._total, rate

    monkeypatch.setattr(module._Search, "_scored", rungs)
    result = found(tmp_path / "s", trials=6)
    bad = [t for t in result["trials"] if t["loss"] is None]
    assert bad and all("not a number" in t["reason"] for t in bad)
    assert result["best"]["loss"] is not None


CHOICES: list[tuple[dict[str, Any], str]] = [
    ({"rnak": (1, 2)}, "rnak=1"),
    ({"rank": (4, 2000)}, "rank=2000"),
    ({"rank": (4, "wide")}, "rank=wide"),
    ({"rank": (4, 8), "dropout": (0.0, 1.0)}, "rank=4, dropout=1.0"),
    ({"learning_rate": (0.1, 0.2)}, "learning_rate=0.1"),
    ({"roles": (["attn.q"], ["attn.q", "attn.x"])}, "roles=attn.q+attn.x"),
    ({"layers": ([0], [0, 9])}, "layers=0+9"),
    ({"rank": (4, [4, 8])}, "rank=4+8"),
]


@pytest.mark.parametrize(("choices", "got"), CHOICES)
def test_choices_that_are_none_are_refused_before_anything_is_written(
    choices: dict[str, Any], got: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        found(tmp_path / "s", trials=1, choices=choices)
    assert (caught.value.field, caught.value.got) == ("--choose", got)
    assert caught.value.expected and not list(tmp_path.iterdir())


def test_a_setting_is_given_or_chosen(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--rank is given") as caught:
        search(
            SOURCE, rows_of(20), config(steps=8, options={"rank": 4}),
            Asked(choices={"rank": (4, 8)}), tmp_path / "s", **WHERE,
        )  # fmt: skip
    assert caught.value.field == "--choose" and not list(tmp_path.iterdir())


def test_lists_are_chosen_among(tmp_path: Path) -> None:
    """And known again by who goes on."""
    choices = {"roles": (["attn.q"], ["attn.q", "attn.v"]), "layers": ([0], [0, 1])}
    result = found(tmp_path / "s", trials=2, rungs=1, choices=choices)
    for trial in result["trials"]:
        assert trial["settings"]["roles"] in choices["roles"]
        assert trial["settings"]["layers"] in choices["layers"]
    again = found(tmp_path / "s", trials=2, rungs=1, choices=choices)
    assert again["trials"] == result["trials"]


def labelled(count: int = 20) -> list[Row]:
    """Whether a colour's name is short."""
    return [
        replace(row, completion="short" if len(row.completion or "") < 5 else "long")
        for row in rows_of(count)
    ]


@pytest.mark.parametrize("source", [SOURCE, "preset:bert-tiny"])
def test_a_head_is_scored_by_its_own_loss(source: str, tmp_path: Path) -> None:
    settings = config(steps=8, head="classification", method="lora")
    result = search(source, labelled(), settings, Asked(trials=3, rungs=2), tmp_path / "s", **WHERE)
    losses = [trial["loss"] for trial in result["trials"]]
    assert all(loss is not None and 0 < loss < 2 for loss in losses), "about the log of 2 labels"
    assert result["best"]["loss"] in losses and result["best"]["steps"] == 8


def test_rows_to_score_on_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """The one label that only they have is unknown to the head."""
    rows = labelled()
    learned = {row.id for row in split(rows, Sizes(development=3, test=0), 0).train}
    odd = [row if row.id in learned else replace(row, completion="odd") for row in rows]
    with pytest.raises(DataError, match="kept to score on"):
        search(
            SOURCE, odd, config(steps=8, head="classification"), Asked(trials=1), tmp_path / "s",
            **WHERE,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_where_nothing_is_learned_there_is_no_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rungs(self: Any, rate: float, options: dict[str, Any]) -> Any:
        raise GuardError("the loss is not a number")
        yield

    monkeypatch.setattr(module._Search, "_scored", rungs)
    result = found(tmp_path / "s", trials=2)
    assert result["best"] is None and result["at_edge"] is None
    assert all(trial["reason"] for trial in result["trials"])


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        search(SOURCE, rows_of(1), config(), Asked(), tmp_path / "a", **WHERE)
    found(tmp_path / "c", trials=1, rungs=1)
    with pytest.raises(RequestError, match="another search"):
        found(tmp_path / "c", trials=2, rungs=1)
