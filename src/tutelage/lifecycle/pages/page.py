"""What the pages of all records share: templates, style, and the two scripts of their charts.

A page may be opened anywhere: what models wrote is escaped, and a content policy admits only the
scripts inlined here, by their hashes; no request leaves it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tutelage.errors import GuardError
from tutelage.lifecycle.pages import formats

PAGES = Path(__file__).parent


def render(template: str, context: Mapping[str, Any], plotly: str) -> str:
    """The page as text. Raises GuardError where the template asks for what is not there."""
    charts = (PAGES / "charts.js").read_text(encoding="utf-8")
    shared = {
        "style": Markup((PAGES / "style.css").read_text(encoding="utf-8")),
        "plotly": Markup(plotly),
        "charts": Markup(charts),
        "policy": _policy(plotly, charts),
    }
    try:
        return _environment().get_template(template).render({**context, **shared}) + "\n"
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


def _policy(*scripts: str) -> str:
    """A content policy that runs these inline scripts alone and lets no request leave the page."""
    digests = (hashlib.sha256(script.encode("utf-8")).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
