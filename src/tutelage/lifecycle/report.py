"""`report.html`: a run's record as one page for people; nothing is fetched, nothing computed.

Looks every number up in the record and stops, naming the key, where one is missing. The page may be
opened anywhere: what models wrote is escaped, and a content policy admits only the two scripts
inlined here, by their hashes. Knows nothing of how the numbers came about.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tutelage import store
from tutelage.data.told import LISTED
from tutelage.errors import GuardError
from tutelage.lifecycle.pages import command, figures, formats, lookup
from tutelage.lifecycle.record import Record

PAGES = Path(__file__).parent / "pages"


def write_report(record: dict[str, Any], folder: Path) -> Path:
    """Write `folder`/report.html and return its path.

    Raises GuardError naming a key that is missing from the record, WorkError if it cannot write.
    """
    page = render(lookup.checked(record))
    path = folder / "report.html"
    store.write_text(path, page)
    return path


def render(record: Record) -> str:
    """The page as text, the same for the same record."""
    try:
        return _environment().get_template("report.html").render(_context(record)) + "\n"
    except jinja2.UndefinedError as error:
        raise GuardError(f"the record cannot be shown: {error.message}") from error


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment


def _context(record: Record) -> dict[str, Any]:
    plotly, charts = get_plotlyjs(), (PAGES / "charts.js").read_text(encoding="utf-8")
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
        "style": Markup((PAGES / "style.css").read_text(encoding="utf-8")),
        "plotly": Markup(plotly),
        "charts": Markup(charts),
        "policy": _policy(plotly, charts),
        **_lookups(record),
    }


def _lookups(record: Record) -> dict[str, Callable[..., Any]]:
    """What the templates may ask of the record by name."""
    return {
        "quality": lambda each: lookup.quality(record, each),
        "against": lambda each: lookup.against_baseline(record, each),
        "development": lambda each: lookup.development(record, each),
    }


def _policy(*scripts: str) -> str:
    """A content policy that runs these inline scripts alone and lets no request leave the page."""
    digests = (hashlib.sha256(script.encode("utf-8")).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
