"""`tutelage eval MODEL --data F`: ask a model every row once and measure its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.generate import open_model
from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, DataError
from tutelage.score import STANDARD

if TYPE_CHECKING:
    from tutelage.data.rows import Row
    from tutelage.lm import LM
    from tutelage.prompts.few_shot import Example

FEWEST_ROWS = 2


def eval(
    model: str,
    *,
    data: str,
    metric: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = STANDARD,
    shots: int = 0,
    examples: str | None = None,
    limit: int | None = None,
    max_new_tokens: int = 128,
    strict: bool = False,
    adapter: Path | None = None,
    out: Path | None = None,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Measure a model's answers on data with references, greedily, with 95% intervals.

    Parameters
    ----------
    model
        A model source: folder, FILE.gguf, pypi:, hf:, preset:, http://...#MODEL, scripted:FILE.
    data
        Rows with a prompt and an answer: .jsonl .csv .parquet, a folder of them, hf: or builtin:.
    metric
        A metric's name; may be given several times.
    shots
        Solved examples before every prompt.
    examples
        Data to take the examples from; without it they are taken from the data, and these rows are
        not measured. Give it where evaluations with different shots are to be compared.
    limit
        Measure the first rows only.
    max_new_tokens
        Longest answer, in tokens.
    strict
        Stop at the first row that cannot be used instead of setting it aside.
    adapter
        An adapter folder put on the model.
    out
        Write the evaluation, with every item, prompt and answer, to this file.
    api_key_file
        The key of an http:// source, in a file.
    """
    shared = shared or Shared()
    from tutelage.evaluate.file import as_file
    from tutelage.evaluate.tasks import evaluate_rows
    from tutelage.store import write_json

    names, seed = _check(metric, shots, limit, max_new_tokens), shared.seed or 0
    material = _load(data, examples, strict)
    lm = open_model(model, adapter, api_key_file, shared)
    chosen = _examples(lm, material.pool, shots, seed, max_new_tokens)
    rows = _asked(material, chosen, limit, data)
    evaluation = evaluate_rows(
        lm, rows, chosen, names, max_new_tokens=max_new_tokens, progress=progress(shared), seed=seed
    )
    result = as_file(evaluation, model, data if ":" in data else Path(data).name, shots)
    result |= {"set_aside": material.set_aside, "notes": material.notes}
    if out is not None:
        write_json(out, result)
        result["items"] = str(out)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the metrics as a table, and what was not measured as it should be."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("metric", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in result["metrics"].items():
        table.add_row(name, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}")
    console = Console()
    console.print(table)
    console.print(
        f"{result['n']} rows of {result['task']} in {result['seconds']:.1f} s", markup=False
    )
    remarks = {
        "refused": "prompts do not fit the model's context and count as empty answers",
        "cut_off": "answers ended at the limit of new tokens (--max-new-tokens)",
        "set_aside": "rows could not be used and were set aside",
    }
    for key, text in remarks.items():
        count = sum(result[key].values()) if key == "set_aside" else result[key]
        if count:
            console.print(f"- {count} {text}", markup=False)
    for note in result["notes"]:
        console.print(f"- {note}", markup=False)
    if isinstance(result["items"], str):
        console.print(f"items: {result['items']}", markup=False)


def _check(metrics: Sequence[str], shots: int, limit: int | None, length: int) -> list[str]:
    from tutelage.score import METRICS

    for flag, value, least in (
        ("--shots", shots, 0),
        ("--limit", limit, FEWEST_ROWS),
        ("--max-new-tokens", length, 1),
    ):
        if value is not None and value < least:
            raise ConfigError(
                f"{flag} is too small", field=flag, got=value, expected=f"{least} or more"
            )
    names = list(dict.fromkeys(metrics))
    for name in names:
        METRICS.get(name, field="--metric")
    return names


@dataclass(frozen=True)
class _Material:
    """Rows to measure, rows to take examples from, which are the same where `own`."""

    rows: list[Row]
    pool: list[Row]
    own: bool
    set_aside: dict[str, int]
    notes: list[str]


def _load(data: str, examples: str | None, strict: bool) -> _Material:
    from tutelage.data.load import load
    from tutelage.evaluate.tasks import answerable

    loaded = load(data, strict=strict)
    rows = pool = answerable(loaded.rows, data, strict=strict)
    if examples is not None:
        pool = answerable(load(examples, strict=strict).rows, examples, strict=strict)
    aside = loaded.reasons()
    if unanswerable := len(loaded.rows) - len(rows):
        aside["no-answer"] = unanswerable
    return _Material(rows, pool, examples is None, aside, list(loaded.notes))


def _examples(
    lm: LM, pool: Sequence[Row], shots: int, seed: int, max_new_tokens: int
) -> tuple[Example, ...]:
    """The examples, each within its share of half the context that answers leave free."""
    from tutelage.prompts.few_shot import choose_examples

    if shots == 0:
        return ()
    context = lm.capabilities().context
    each = (context - max_new_tokens) // (2 * shots) if context is not None else 10**9
    candidates = [row.example() for row in pool]
    return choose_examples(candidates, shots, seed, each, lm.count_tokens)


def _asked(
    material: _Material, chosen: Sequence[Example], limit: int | None, data: str
) -> list[Row]:
    """The rows to measure, without those shown as examples. Raises DataError for too few."""
    shown = {example.id for example in chosen} if material.own else set()
    rows = [row for row in material.rows if row.id not in shown][:limit]
    if len(rows) < FEWEST_ROWS:
        used = f" after {len(shown)} taken as examples" if shown else ""
        raise DataError(
            f"too few rows to measure anything in {data}{used}",
            field=data,
            got=f"{len(rows)} rows",
            expected=f"{FEWEST_ROWS} or more",
        )
    return rows
