"""`tutelage toxicity`: how far a scorer of toxicity is to be trusted, on labelled texts."""

from __future__ import annotations

from typing import Any

from tutelage.cli.plan_memory import Plain


def toxicity(
    *,
    data: str,
    scorer: str = "words",
    text: str = "text",
    label: str = "label",
    shared: Plain | None = None,
) -> dict[str, Any]:
    """Measure a scorer of toxicity: AUC, accuracy, and false positives by group of people.

    Parameters
    ----------
    data
        Labelled texts: .jsonl .csv .parquet; "toxic", "1", "true" and "yes" are toxic.
    scorer
        words, alt-profanity-check, or the folder of a classifier from `tutelage data quality`.
    text
        The column with the text.
    label
        The column with the label.
    """
    from tutelage.data.load import load
    from tutelage.errors import ConfigError
    from tutelage.evaluate.toxicity import scorer as opened
    from tutelage.evaluate.toxicity import trust

    found = opened(scorer, "--scorer")
    try:
        rows = load(data, prompt=f"{{{text}}}", completion=f"{{{label}}}", answered=True).rows
    except ConfigError as error:
        flags = {"prompt": "--text", "completion": "--label"}
        if error.field in flags:
            error.args = (f"no row has the column {error.got!r}",)
            error.message, error.field = error.args[0], flags[error.field]
        raise
    texts = [row.messages[-1].content for row in rows]
    return {"scorer": scorer, **trust(found, texts, [row.completion or "" for row in rows])}


def show(result: dict[str, Any]) -> None:
    """Print what the scorer finds, and whom it wrongs."""
    print(f"{result['scorer']} on {result['n']} texts, {result['toxic']} of them toxic")
    for name in ("auc", "accuracy", "found", "false_positives"):
        value = result[name]
        said = f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
        print(f"  {name.replace('_', ' ')} {said}")
    for name, value in result["groups"].items():
        print(f"  false positives naming {name}: {value['value']:.2f} of {value['n']}")
