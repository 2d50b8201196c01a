"""`tutelage report RUN`: write a run's report and card again from its record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tutelage.cli import pretrain
from tutelage.cli import run as ladder
from tutelage.cli.shared import Shared
from tutelage.errors import DamagedError, RequestError


def report(
    run: Path,
    *,
    open_: Annotated[bool, Parameter(name="--open", negative="")] = False,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Write report.html, and CARD.md of a project's run, again from record.json.

    Parameters
    ----------
    run
        The folder of a finished `tutelage run` or `tutelage pretrain`, as runs/NAME.
    open_
        Open the report in the browser.
    """
    record = _read(run)
    from tutelage.lifecycle.raised import is_raised

    found = _raised(record, run) if is_raised(record) else _ladder(record, run)
    if open_:
        import webbrowser

        webbrowser.open(Path(found["report"]).resolve().as_uri())
    return found


def show(result: dict[str, Any]) -> None:
    """Print what the page shows in short, and where it is."""
    (ladder if "candidates" in result else pretrain).show(result)


def _raised(record: dict[str, Any], run: Path) -> dict[str, Any]:
    from tutelage import store
    from tutelage.lifecycle.raised import write_raised

    with store.lock(run):
        page = write_raised(record, run)
    places = {"out": str(run), "report": str(page), "model_folder": str(run / "model")}
    return record | places


def _ladder(record: dict[str, Any], run: Path) -> dict[str, Any]:
    from tutelage import store
    from tutelage.lifecycle.card import write_card
    from tutelage.lifecycle.report import write_report

    with store.lock(run):
        page, card = write_report(record, run), write_card(record, run)
    kept = {key: value for key, value in record.items() if key != "detail"}
    detail = record["detail"]
    places = {"run": str(run), "report": str(page), "card": str(card)}
    if record["model"] is not None:
        places["model"] = str(run / "model")
    return kept | places | {"metric": detail["metric"], "front": detail["front"]}


def _read(run: Path) -> dict[str, Any]:
    """The record of a run. Raises RequestError if there is none, DamagedError if damaged."""
    from tutelage.store import read_json

    path = run / "record.json"
    if not path.is_file():
        here = "no such folder" if not run.is_dir() else "it holds no record.json"
        raise RequestError(
            f"{run} is not a finished run: {here}",
            field="RUN",
            got=run,
            expected="the folder of a finished run, as runs/NAME",
            hint="`tutelage run` writes one, and goes on with one that was interrupted",
        )
    record = read_json(path)
    if not isinstance(record, dict):
        raise DamagedError(
            f"{path} is not a record", field=str(path), got=type(record).__name__, expected="object"
        )
    return record
