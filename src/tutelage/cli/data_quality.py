"""`tutelage data quality`: a classifier of good and bad text, for the filters of that name."""

from __future__ import annotations

from pathlib import Path

from tutelage.cli.data_run import Json, Names, Reading, entries, notes, open_sources
from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError


def quality(
    *,
    good: Names,
    bad: Names,
    out: Path,
    reading: Reading | None = None,
    shared: Shared | None = None,
) -> Json:
    """Train a classifier that tells good text from bad, and say how well it does on held-out text.

    Parameters
    ----------
    good
        Text to keep more of: .txt .jsonl .csv .parquet ..., folders of them, hf:, builtin:.
    bad
        Text to leave out, the same.
    out
        The folder to write. Use it with: data filter --use quality --set quality.model=OUT
    """
    from tutelage import store
    from tutelage.corpus import quality as classifier
    from tutelage.corpus.pipeline import Pipeline

    shared = shared or Shared()
    ours = (out / classifier.FILE).is_file() or (out.is_dir() and not any(out.iterdir()))
    if out.exists() and not ours:
        raise ConfigError(f"{out} exists and holds something else", field="--out")
    store.check_place(out)
    sides = {name: open_sources(names, reading) for name, names in (("good", good), ("bad", bad))}
    texts = {
        name: (one.text for one in Pipeline(entries(sources), (), progress(shared)))
        for name, sources in sides.items()
    }
    found = classifier.train(texts["good"], texts["bad"], shared.seed or 0)
    found.save(out)
    about = found.about
    return {
        "out": str(out),
        "rows": {"good": about.good, "bad": about.bad, "held_out": about.held_out},
        "auc": about.auc,
        "accuracy": about.accuracy,
        "notes": [note for sources in sides.values() for note in notes(sources)],
    }


def show(result: Json) -> None:
    """Print how well the classifier tells held-out texts apart."""
    auc, rows = result["auc"], result["rows"]
    print(f"{rows['good']:,} good and {rows['bad']:,} bad texts, {rows['held_out']:,} held out")
    print(f"AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) on held-out texts")
    print(f"written to {result['out']}")
