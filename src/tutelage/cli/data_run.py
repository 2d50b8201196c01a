"""What the verbs of `tutelage data` share: sources as a stream, steps, the contract's object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress

if TYPE_CHECKING:
    from tutelage.corpus.documents import Document
    from tutelage.corpus.pipeline import Step
    from tutelage.corpus.sources import Source
    from tutelage.data.rows import SetAside

Json = dict[str, Any]
Unit = Literal["file", "section", "paragraph", "line"]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How documents are taken from what is given."""

    field: str | None = None
    """The field of a row that holds its text."""
    unit: Unit = "file"
    """What a document is in a .txt file."""


def run(
    verb: str,
    sources: Sequence[Source],
    steps: Sequence[Step],
    out: Path | None,
    settings: Json,
    shared: Shared | None,
) -> Json:
    """All documents through the steps, to `out` if there is one, which was looked at before
    (`check_out`); the contract's object."""
    from tutelage.corpus import funnel, output
    from tutelage.corpus.pipeline import Pipeline

    names = [source.name for source in sources]
    pipeline = Pipeline(entries(sources), steps, progress(shared))
    page = None
    if out is None:
        for _ in pipeline:
            pass
    else:
        output.write_documents(
            pipeline,
            out,
            lambda: funnel.funnel(verb, names, pipeline.tallies, settings, notes(sources)),
        )
        page = str(funnel.beside(out).with_suffix(".html"))
    done = [tally.as_json() for tally in pipeline.tallies]
    return {**counts_of(done, out), "report": page, "notes": notes(sources)}


def check_out(out: Path | None, data: Sequence[str]) -> None:
    """Raises ConfigError where nothing can be written to `out`: before anything is read."""
    if out is not None:
        from tutelage.corpus import output

        output.check_out(out, data)


def counts_of(steps: Sequence[Json], out: Path | None) -> Json:
    """The contract's object from the steps of a funnel: rows in = rows out + sum of reasons."""
    reasons: Counter[str] = Counter()
    for step in steps:
        reasons.update(step["reasons"])
    return {
        "rows_in": steps[0]["rows_in"],
        "rows_out": steps[-1]["rows_out"],
        "reasons": dict(reasons.most_common()),
        "out": None if out is None else str(out),
        "steps": [{key: step[key] for key in ("name", "rows_in", "rows_out")} for step in steps],
    }


def open_sources(names: Sequence[str], reading: Reading | None) -> list[Source]:
    from tutelage.corpus.sources import open_source

    reading = reading or Reading()
    return [open_source(name, field=reading.field, unit=reading.unit) for name in names]


def entries(sources: Sequence[Source]) -> Iterator[Document | SetAside]:
    """All documents of all sources, one source after the other."""
    return (entry for source in sources for entry in source)


def notes(sources: Sequence[Source]) -> list[str]:
    """What a report must say of the sources."""
    return [note for source in sources for note in source.notes]


def show(result: Json) -> None:
    """Print how much was kept, and what was not and why."""
    print(f"{result['rows_out']:,} of {result['rows_in']:,} documents")
    for reason, count in result["reasons"].items():
        print(f"  {count:>9,}  {reason}")
    if result["out"]:
        print(f"written to {result['out']}")
    if result.get("report"):
        print(f"the funnel: {result['report']}")
