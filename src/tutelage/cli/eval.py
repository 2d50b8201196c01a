"""`tutelage eval MODEL --data F`: ask a model every row once and measure its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.generate import open_model
from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, WorkError
from tutelage.score import STANDARD

if TYPE_CHECKING:
    from tutelage.data.rows import Loaded


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
    from tutelage import store
    from tutelage.data.load import load
    from tutelage.evaluate.file import as_file
    from tutelage.evaluate.selection import select
    from tutelage.evaluate.tasks import evaluate_rows

    names, seed = _check(metric, shots, limit, max_new_tokens, out), shared.seed or 0
    loaded = load(data, answered=True, strict=strict)
    pool = None if examples is None else load(examples, answered=True, strict=strict)
    lm = open_model(model, adapter, api_key_file, shared)
    chosen = select(
        lm, loaded, pool, data,
        shots=shots, limit=limit, max_new_tokens=max_new_tokens, seed=seed, strict=strict,
    )  # fmt: skip
    evaluation = evaluate_rows(
        lm, chosen.rows, chosen.examples, names,
        max_new_tokens=max_new_tokens, progress=progress(shared), seed=seed,
    )  # fmt: skip
    result = as_file(evaluation, model, data if ":" in data else Path(data).name, shots)
    result |= {**chosen.described(), "notes": _notes(loaded, pool, examples)}
    if out is not None:
        store.write_json(out, result)
        result["items"] = str(out)
    return result


def show(result: dict[str, Any]) -> None:
    """Print the metrics as a table, and what was not measured as it should be."""
    from rich.console import Console

    from tutelage.data.told import shown

    console = Console()
    console.print(_table(result["metrics"]))
    lines = [f"{result['n']} rows of {result['task']} in {result['seconds']:.1f} s"]
    for key, text in (
        ("refused", "prompts do not fit the model's context and count as empty answers"),
        ("cut_off", "answers ended at the limit of new tokens (--max-new-tokens)"),
    ):
        if result[key]:
            lines.append(f"- {result[key]} {text}")
    rows = result["rows"]
    if rows["set_aside"]:
        lines.append(f"- {rows['set_aside']} of {rows['read']} rows were set aside:")
        lines += [f"  {line}" for line in shown(result["set_aside"], result["set_aside_rows"])]
    lines += [f"- {note}" for note in result["notes"]]
    if isinstance(result["items"], str):
        lines.append(f"items: {result['items']}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(metrics: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("metric", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in metrics.items():
        table.add_row(name, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}")
    return table


def _notes(loaded: Loaded, pool: Loaded | None, examples: str | None) -> list[str]:
    """What is to be said of the data, and of the rows of the examples' own that cannot be shown."""
    from tutelage.data.told import counted

    notes = list(loaded.notes)
    if pool is not None and pool.set_aside:
        first = pool.set_aside[0]
        notes.append(
            f"of {examples} {counted(pool.reasons())} were set aside; the first: {first.where}: "
            f"{first.detail}"
        )
    return notes


def _check(
    metrics: Sequence[str], shots: int, limit: int | None, length: int, out: Path | None
) -> list[str]:
    """The metrics, each once. Raises what is wrong with a flag before any work is done."""
    from tutelage.evaluate.selection import FEWEST_ROWS
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
    if out is not None:
        _check_out(out)
    return names


def _check_out(out: Path) -> None:
    from tutelage import store

    try:
        store.check_writable(out)
    except WorkError as error:
        raise ConfigError(
            error.message, field="--out", got=out, expected="a file that can be written"
        ) from error
