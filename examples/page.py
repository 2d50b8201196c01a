"""A page of docs/ from results: every table and picture between its marks; the prose stays.

A section stands between `<!-- results: STUDY -->` and `<!-- end -->`. A study without results says
so in its place, with the command that runs it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from studies import ROOT, Json

from tutelage import store

PLACE = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Section = Callable[[Json], str]
Pictures = Callable[[Json], dict[str, str]]
"""From a result, SVG by name."""


def main(
    folder: Path, name: str, sections: Mapping[str, Section], pictures: Mapping[str, Pictures],
    cost: Section,
) -> None:  # fmt: skip
    """The command line that draws docs/NAME.md from the results beside a folder's studies."""
    parser = argparse.ArgumentParser(description=f"docs/{name}.md from the results")
    parser.add_argument("--results", type=Path, default=folder / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    asked = parser.parse_args()

    def filled(found: re.Match[str]) -> str:
        study, file = found[2], asked.results / f"{found[2]}.json"
        if not file.is_file():
            command = f"python examples/{folder.name}/run.py --only {study}"
            return f"{found[1]}Not run yet: `{command}`\n{found[3]}"
        result = json.loads(file.read_text(encoding="utf-8"))
        drawn = pictures[study](result) if study in pictures else {}
        for title, picture in drawn.items():
            (asked.docs / name).mkdir(exist_ok=True)
            store.write_text(asked.docs / name / f"{title}.svg", picture)
        shown = "".join(f"\n![{title}]({name}/{title}.svg)\n" for title in drawn)
        return f"{found[1]}{sections[study](result)}{shown}\n{cost(result)}\n{found[3]}"

    page = asked.docs / f"{name}.md"
    store.write_text(page, PLACE.sub(filled, page.read_text(encoding="utf-8")))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def value(found: Json, digits: int = 3) -> str:
    """With its interval, where it has one."""
    if found["low"] is None:
        return f"{found['value']:.{digits}f}"
    return f"{found['value']:.{digits}f} ({found['low']:.{digits}f} to {found['high']:.{digits}f})"
