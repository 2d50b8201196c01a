"""`tutelage data`: look at text, filter it, free it of duplicates, mix it, store it as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tutelage.cli.data_run import (
    Json,
    Names,
    Repeated,
    Unit,
    counts_of,
    entries,
    notes,
    open_sources,
    run,
    show,
)
from tutelage.cli.data_store import mix, tokenize
from tutelage.cli.shared import Shared, progress

if TYPE_CHECKING:
    from tutelage.corpus.pipeline import Step


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

    sources = open_sources(data, field, unit)
    pipeline = Pipeline(entries(sources), (), progress(shared))
    found = Inspection()
    for document in pipeline:
        found.add(document)
    steps = [tally.as_json() for tally in pipeline.tallies]
    return {**counts_of(steps, None), **found.as_json(), "notes": notes(sources)}


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
    return run("filter", open_sources(data, field, unit), steps, out, settings, shared)


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
    return run("dedup", open_sources(data, field, unit), steps, out, settings, shared)


__all__ = ["dedup", "filter", "inspect", "mix", "show", "tokenize"]
