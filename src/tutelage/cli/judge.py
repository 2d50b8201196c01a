"""`tutelage judge MODEL --data F`: how far a model's judgement of answers is people's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.cli.shared import Shared, progress


def judge(
    model: str,
    *,
    data: Path,
    limit: int | None = None,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Have a model judge pairs of answers in both orders, and compare it with people's labels.

    Parameters
    ----------
    model
        A model source: the judge.
    data
        Pairs with labels: LLMBar's or PandaLM's files, or prompt, chosen and rejected.
    limit
        So many pairs, spread evenly.
    api_key_file
        The key of an http:// source, in a file.
    """
    from tutelage.cli.generate import open_model
    from tutelage.errors import ConfigError
    from tutelage.evaluate.judge import agreement
    from tutelage.evaluate.judge import judge as asked
    from tutelage.evaluate.judge_data import pairs_of

    shared = shared or Shared()
    if limit is not None and limit < 2:
        raise ConfigError("--limit is too small", field="--limit", got=limit, expected="2 or more")
    pairs = pairs_of(data)
    if limit is not None and limit < len(pairs):
        pairs = [pairs[n * len(pairs) // limit] for n in range(limit)]
    lm = open_model(model, None, api_key_file, shared)
    found = asked(lm, pairs, progress(shared))
    items = [
        {"id": p.id, "label": p.label, "as_given": j.as_given, "swapped": j.swapped,
         "verdict": j.verdict}
        for p, j in zip(pairs, found, strict=True)
    ]  # fmt: skip
    return {"judge": model, **agreement(pairs, found, shared.seed or 0), "items": items}


def show(result: dict[str, Any]) -> None:
    """Print how often it is right, and how much the order says."""
    print(f"{result['judge']} on {result['n']} pairs that people decided, each in both orders")
    for name, told in (
        ("accuracy", "agrees with people, mean of both orders"),
        ("agreement", "agrees in both"),
        ("consistent", "takes the same answer in both orders"),
        ("first", "takes the one that stands first"),
    ):
        value = result[name]
        print(f"  {value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})  {told}")
    if result["kappa"] is not None:
        print(f"  {result['kappa']:.3f}  Cohen's kappa, ties among the labels")
    if result["people"] is not None:
        print(f"  {result['people']:.3f}  of pairs of people say the same")
