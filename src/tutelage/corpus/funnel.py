"""The funnel: what each step from the first reading to the last file kept, and why not the rest.

A corpus that was made in several commands carries its history: a source that has a funnel beside it
hands its steps on to the next one. As JSON, and as one page of HTML that needs nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from tutelage import store
from tutelage.corpus.pipeline import Tally
from tutelage.errors import DamagedError

NAME = "funnel.json"
PAGE = Path(__file__).with_name("funnel.html")


def beside(data: Path) -> Path:
    """Where the funnel of a corpus stands: in its folder, or beside its file."""
    return data.with_name(f"{data.name}.{NAME}") if data.suffix else data / NAME


def history(source: str) -> list[dict[str, Any]]:
    """The commands that made a source, from its own funnel; none where it has none.

    Raises DamagedError where there is one that cannot be read.
    """
    path = beside(Path(source))
    if ":" in source or not path.is_file():
        return []
    found = store.read_json(path)
    commands = found.get("commands") if isinstance(found, dict) else None
    if not isinstance(commands, list):
        raise DamagedError(f"{path} is no funnel", field=str(path), expected='{"commands": [...]}')
    return commands


def funnel(
    verb: str,
    sources: Sequence[str],
    tallies: Sequence[Tally],
    settings: dict[str, Any],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The history of the sources, and this command at its end."""
    command = {
        "verb": verb,
        "sources": list(sources),
        "settings": settings,
        "notes": list(notes),
        "steps": [tally.as_json() for tally in tallies],
    }
    before = [command for source in sources for command in history(source)]
    return {"commands": [*before, command]}


def write(found: dict[str, Any], path: Path) -> Path:
    """Write a funnel to `path` and its page beside it; the path of the page."""
    store.write_json(path, found)
    page = path.with_suffix(".html")
    store.write_text(page, render(found))
    return page


def render(found: dict[str, Any]) -> str:
    """The page as text, the same for the same funnel."""
    return _environment().from_string(PAGE.read_text(encoding="utf-8")).render(found) + "\n"


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
