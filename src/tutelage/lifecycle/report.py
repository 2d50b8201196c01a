"""`report.html`: a run's record as one page for people; nothing is fetched, nothing computed.

Looks every number up in the record and stops, naming the key, where one is missing. Knows nothing
of how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from tutelage import store
from tutelage.data.told import LISTED
from tutelage.lifecycle.pages import command, figures, lookup, page
from tutelage.lifecycle.record import Record


def write_report(record: dict[str, Any], folder: Path) -> Path:
    """Write `folder`/report.html and return its path.

    Raises GuardError naming a key that is missing from the record, WorkError if it cannot write.
    """
    path = folder / "report.html"
    store.write_text(path, render(lookup.checked(record)))
    return path


def render(record: Record) -> str:
    """The page as text, the same for the same record."""
    return page.render("report.html", _context(record), get_plotlyjs())


def _context(record: Record) -> dict[str, Any]:
    return {
        "record": record,
        "chosen": lookup.recommended(record),
        "toxic": any(each.toxicity for each in record.candidates),
        "project": store.to_json(record.detail.project.model_dump()),
        "again": command.again(record),
        "most_listed": LISTED,
        "making": figures.front_of_making(record),
        "answering": figures.front_of_answering(record),
        "losses": figures.loss_curves(record),
        **_lookups(record),
    }


def _lookups(record: Record) -> dict[str, Callable[..., Any]]:
    """What the templates may ask of the record by name."""
    return {
        "quality": lambda each: lookup.quality(record, each),
        "against": lambda each: lookup.against_baseline(record, each),
        "development": lambda each: lookup.development(record, each),
    }
