"""`tutelage data`: look at text, filter it, free it of duplicates, mix it, store it as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress

if TYPE_CHECKING:
    from tutelage.corpus.pipeline import Pipeline, Step
    from tutelage.corpus.sources import Source

Json = dict[str, Any]
Unit = Literal["file", "paragraph", "line"]
Names = Annotated[tuple[str, ...], Parameter(consume_multiple=True)]
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]


def inspect(
    data: Names,
    *,
    field: str | None = None,
    unit: Unit = "file",
    shared: Shared | None = None,
) -> Json:
    """Say what a corpus holds: documents, sizes, repeats, and what cannot be read.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    field
        The field of a row that holds its text.
    unit
        What a document is in a .txt file.
    """
    from tutelage.corpus.inspect import Inspection
    from tutelage.corpus.pipeline import Pipeline

    sources = _sources(data, field, unit)
    pipeline = Pipeline(_entries(sources), (), progress(shared))
    found = Inspection()
    for document in pipeline:
        found.add(document)
    return {**_counts(pipeline, None), **found.as_json(), "notes": _notes(sources)}


def filter(
    data: Names,
    *,
    out: Path | None = None,
    use: Repeated = (),
    preset: Literal["gopher", "web", "none"] = "gopher",
    set: Repeated = (),
    field: str | None = None,
    unit: Unit = "file",
    shared: Shared | None = None,
) -> Json:
    """Leave out documents that rules speak against, and count each reason.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    out
        A file NAME.jsonl, or a folder, for what is kept and a report of what is not; without it the
        documents are counted only.
    use
        A further filter: language, c4, fineweb, toxicity, quality ...; may be given several times.
    preset
        Filters to begin with: gopher (length symbols words repetition), web (c4 and fineweb too).
    set
        A threshold, FILTER.KEY=VALUE, as length.min_words=20; may be given several times.
    field
        The field of a row that holds its text.
    unit
        What a document is in a .txt file.
    """
    from tutelage.corpus.filters import PRESETS, filter_steps, parse_settings

    names = tuple(dict.fromkeys([*PRESETS[preset], *use]))
    steps = filter_steps(names, parse_settings(set))
    settings = {step.name: step.rule.model_dump(mode="json") for step in steps}
    return _run("filter", _sources(data, field, unit), steps, out, settings, shared)


def dedup(
    data: Names,
    *,
    out: Path | None = None,
    threshold: float = 0.8,
    exact: bool = False,
    field: str | None = None,
    unit: Unit = "file",
    shared: Shared | None = None,
) -> Json:
    """Leave out documents that repeat an earlier one, exactly or nearly.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    out
        A file NAME.jsonl, or a folder, for what is kept and a report of what is not; without it the
        documents are counted only.
    threshold
        The Jaccard similarity of runs of five words from which a text is a near-duplicate.
    exact
        Leave out exact duplicates only.
    field
        The field of a row that holds its text.
    unit
        What a document is in a .txt file.
    """
    from tutelage.corpus.dedup import Exact, Near

    steps: list[Step] = [Exact()]
    if not exact:
        steps.append(Near(threshold))
    settings = {"threshold": None if exact else threshold}
    return _run("dedup", _sources(data, field, unit), steps, out, settings, shared)


def show(result: Json) -> None:
    """Print how much was kept, and what was not and why."""
    print(f"{result['rows_out']:,} of {result['rows_in']:,} documents")
    for reason, count in result["reasons"].items():
        print(f"  {count:>9,}  {reason}")
    if result["out"]:
        print(f"written to {result['out']}")
    if result.get("report"):
        print(f"the funnel: {result['report']}")


def _run(
    verb: str,
    sources: Sequence[Source],
    steps: Sequence[Step],
    out: Path | None,
    settings: Json,
    shared: Shared | None,
) -> Json:
    """All documents through the steps, to `out` if there is one; the contract's object."""
    from tutelage.corpus import funnel, output
    from tutelage.corpus.pipeline import Pipeline

    names = [source.name for source in sources]
    pipeline = Pipeline(_entries(sources), steps, progress(shared))

    def report() -> Json:
        return funnel.funnel(verb, names, pipeline.tallies, settings, _notes(sources))

    if out is None:
        for _ in pipeline:
            pass
        page = None
    else:
        output.check_out(out, names)
        output.write_documents(pipeline, out, report)
        page = str(funnel.beside(out).with_suffix(".html"))
    return {**_counts(pipeline, out), "report": page, "notes": _notes(sources)}


def _counts(pipeline: Pipeline, out: Path | None) -> Json:
    return {
        "rows_in": pipeline.rows_in,
        "rows_out": pipeline.rows_out,
        "reasons": pipeline.reasons,
        "out": None if out is None else str(out),
        "steps": [
            {"name": tally.name, "rows_in": tally.rows_in, "rows_out": tally.rows_out}
            for tally in pipeline.tallies
        ],
    }


def _sources(names: Sequence[str], field: str | None, unit: Unit) -> list[Source]:
    from tutelage.corpus.sources import open_source

    return [open_source(name, field=field, unit=unit) for name in names]


def _entries(sources: Sequence[Source]) -> Any:
    return (entry for source in sources for entry in source)


def _notes(sources: Sequence[Source]) -> list[str]:
    return [note for source in sources for note in source.notes]
