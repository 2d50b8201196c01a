"""`tutelage data`: look at text, filter it, free it of duplicates, mix it, store it as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tutelage.cli.data_quality import quality
from tutelage.cli.data_run import (
    Json,
    Names,
    Reading,
    Repeated,
    check_out,
    counts_of,
    entries,
    notes,
    open_sources,
    run,
    show,
)
from tutelage.cli.data_store import mix, tokenize
from tutelage.cli.shared import Shared, progress
from tutelage.errors import DataError

if TYPE_CHECKING:
    from tutelage.corpus.pipeline import Step


def inspect(
    data: Names,
    *,
    reading: Reading | None = None,
    shared: Shared | None = None,
) -> Json:
    """Say what a corpus holds: documents, sizes, repeats, and what cannot be read.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    """
    from tutelage.corpus.inspect import Inspection
    from tutelage.corpus.pipeline import Pipeline

    sources = open_sources(data, reading)
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
    mask_personal_data: bool = False,
    reading: Reading | None = None,
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
    mask_personal_data
        Put [EMAIL], [PHONE], [CARD], [IBAN], [SSN] or [IP] in the place of each.
    """
    from tutelage.corpus.filters import PRESETS, filter_steps, parse_settings
    from tutelage.corpus.pii import Mask

    check_out(out, data)
    names = tuple(dict.fromkeys([*PRESETS[preset], *use]))
    filters = filter_steps(names, parse_settings(set))
    settings: Json = {step.name: step.rule.model_dump(mode="json") for step in filters}
    mask = Mask()
    steps: list[Step] = [*filters, *([mask] if mask_personal_data else [])]
    result = run("filter", open_sources(data, reading), steps, out, settings, shared)
    return {**result, "masked": dict(mask.counts.most_common()) if mask_personal_data else None}


def dedup(
    data: Names,
    *,
    out: Path | None = None,
    threshold: float = 0.8,
    exact_only: bool = False,
    reading: Reading | None = None,
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
    exact_only
        Leave out exact duplicates only.
    """
    from tutelage.corpus.dedup import Exact, Near

    check_out(out, data)
    steps: list[Step] = [Exact()]
    if not exact_only:
        # The place of the answer has room for its size; a system's temporary folder may not.
        steps.append(Near(threshold, folder=out.parent if out else None))
    settings = {"threshold": None if exact_only else threshold}
    return run("dedup", open_sources(data, reading), steps, out, settings, shared)


def contamination(
    data: Names,
    *,
    against: str,
    out: Path | None = None,
    against_field: str | None = None,
    reading: Reading | None = None,
    shared: Shared | None = None,
) -> Json:
    """Leave out documents that give away items of an evaluation set.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    against
        The evaluation set: rows of any shape.
    out
        A file NAME.jsonl, or a folder, for what is kept and a report of what is not; without it the
        documents are counted only.
    against_field
        The field of a row of the evaluation set that holds its text.
    """
    from tutelage.corpus.decontaminate import Decontaminate
    from tutelage.corpus.pipeline import Pipeline

    check_out(out, data)
    items = list(Pipeline(entries(open_sources([against], Reading(against_field)))))
    if not items:
        raise DataError(f"{against} holds no item to look for", field="--against")
    sources = open_sources(data, reading)
    step = Decontaminate(items)
    step.count(Pipeline(entries(sources), (), progress(shared)))
    settings: Json = {"against": against, "items": len(items), "items_too_short": step.short}
    result = run("contamination", sources, [step], out, settings, shared)
    found = [vars(one) for one in step.found.values()]
    return {**result, **settings, "items_found": len(found), "found": found}


def show_contamination(result: Json) -> None:
    """Print how many items were found and what was left out for them."""
    print(f"{result['items_found']:,} of {result['items']:,} items were found")
    if result["items_too_short"]:
        print(f"{result['items_too_short']:,} are too short to be found inside of documents")
    show(result)


__all__ = [
    "contamination", "dedup", "filter", "inspect", "mix", "quality", "show", "show_contamination",
    "tokenize",
]  # fmt: skip
