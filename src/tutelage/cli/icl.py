"""`tutelage icl MODEL --data F`: what examples in the prompt teach a model, part by part."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from tutelage.cli.shared import Shared, progress


def icl(
    model: str,
    *,
    data: str,
    shots: int = 4,
    limit: int = 100,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Measure in-context learning: number and order of examples, labels, inputs, template.

    Parameters
    ----------
    model
        A model source.
    data
        Rows of a classification: a prompt and one of a few labels. Which are asked follows from
        --seed, whatever their order in the file: many files have one label first.
    shots
        Examples before every question.
    limit
        Rows that are asked under every condition.
    api_key_file
        The key of an http:// source, in a file.
    """
    from tutelage.cli.generate import open_model
    from tutelage.data.load import load
    from tutelage.errors import ConfigError
    from tutelage.evaluate.in_context import conditions, labels_of, run
    from tutelage.evaluate.selection import select

    shared = shared or Shared()
    if limit < 2:
        raise ConfigError("--limit is too small", field="--limit", got=limit, expected="2 or more")
    loaded = load(data, answered=True)
    seed = shared.seed or 0
    order = list(loaded.rows)
    random.Random(seed).shuffle(order)
    loaded = replace(loaded, rows=tuple(order))
    labels = labels_of(loaded.rows)
    lm = open_model(model, None, api_key_file, shared)
    chosen = select(lm, loaded, None, data, shots=shots, limit=limit, max_new_tokens=16, seed=seed)
    tried = conditions(chosen.examples, labels, seed)
    found = run(lm, chosen.rows, tried, labels, seed, progress(shared))
    return {"model": model, "labels": list(labels), "n": len(chosen.rows), "conditions": found}


def show(result: dict[str, Any]) -> None:
    """Print each condition with its interval and its difference from the right examples."""
    print(f"{result['n']} rows, {len(result['labels'])} labels")
    for name, one in result["conditions"].items():
        value, gap = one["accuracy"], one["difference"]
        rest = "" if gap is None else f"  {gap['value']:+.3f}  p = {one['p_value']:.3f}"
        print(f"  {name:<18}{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f}){rest}")
