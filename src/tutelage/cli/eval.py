"""`tutelage eval MODEL --data F`: ask a model every row once and measure its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.eval_rows import Asked, leaks_of, run_rows
from tutelage.cli.eval_select import check_alone, select, show_selected
from tutelage.cli.eval_settings import LONGEST, Choosing, Known, Reasoning, judged, versions
from tutelage.cli.eval_task import check_task, run_task, usual_length
from tutelage.cli.generate import open_model
from tutelage.cli.score import metrics_of
from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError
from tutelage.score import STANDARD

if TYPE_CHECKING:
    from tutelage.data.rows import Row
    from tutelage.evaluate.run import Evaluation


def eval(
    model: str | None = None,
    *,
    data: str | None = None,
    task: str | None = None,
    metric: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = STANDARD,
    shots: int = 0,
    examples: str | None = None,
    limit: int | None = None,
    max_new_tokens: int | None = None,
    reasoning: Reasoning | None = None,
    known: Known | None = None,
    choosing: Choosing | None = None,
    strict: bool = False,
    adapter: Path | None = None,
    out: Path | None = None,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Measure a model on rows with right answers or on a benchmark, with 95% intervals.

    Parameters
    ----------
    model
        A model source: folder, FILE.gguf, pypi:, hf:, preset:, http://...#MODEL, scripted:FILE.
    data
        Rows with a prompt and an answer: .jsonl .csv .parquet, a folder of them, hf: or builtin:.
        With --task the folder of its data or hf:OWNER/NAME[@REVISION][/FOLDER], by default
        ../shared/data/TASK.
    task
        A benchmark by name, as gsm8k or mmlu; text reads rows of text (docs/benchmarking.md).
    metric
        A metric's name; may be given several times.
    shots
        Solved examples before every prompt.
    examples
        Data to take the examples from; without it they are taken from the data, and these rows are
        not measured. Give it where evaluations with different shots are to be compared.
    limit
        Measure the first rows only; of a task with subjects so many spread over them.
    max_new_tokens
        Longest answer, in tokens; 128, or what the task asks for.
    strict
        Stop at the first row that cannot be used instead of setting it aside.
    adapter
        An adapter folder put on the model.
    out
        Write the evaluation, with every item, prompt and answer, to this file.
    api_key_file
        The key of an http:// source, in a file.
    """
    shared, reasoning = shared or Shared(), reasoning or Reasoning()
    from tutelage import store

    known = known or Known()
    names = _check(metric, shots, limit, max_new_tokens, out)
    settings = reasoning.settings(shots, max_new_tokens or LONGEST, shared.seed or 0)
    settings = replace(settings, toxicity=known.toxicity or settings.toxicity)
    asked = Asked(data, tuple(names), examples, limit, strict)
    if task is None:
        _check_rows(data, reasoning)
        if choosing is not None and choosing.select:
            check_alone(model, adapter, known, reasoning)
            metrics = metrics_of(asked.metrics, known.encoder, shared)
            found = select(
                asked, metrics, settings, choosing, api_key_file, shared, progress(shared)
            )
            if out is not None:
                store.write_json(out, found)
            return found
    elif choosing is not None and choosing.select:
        raise ConfigError("models are chosen by rows of --data", field="--select", got="--task")
    else:
        check_task(task, settings)
        _check_task_options(asked, metric)
        settings = settings if max_new_tokens else usual_length(task, settings)
    if model is None:
        raise ConfigError("say which model", field="MODEL, --select", expected="a model source")
    train = None if known.trained_on is None else _train(known.trained_on)
    toxic = None if known.toxicity is None else _scorer(known.toxicity)
    opened = partial(open_model, model, adapter, api_key_file, shared)
    evaluation: Evaluation | None
    if task is None:
        metrics = metrics_of(asked.metrics, known.encoder, shared)
        result, evaluation, bare = run_rows(
            opened, model, asked, metrics, settings, progress(shared)
        )
    else:
        place = None if data is None else _folder(data)
        result, evaluation, bare = run_task(
            opened, model, task, place, settings, limit, progress(shared), helm=reasoning.helm
        )
    result = {"helm": None} | result
    result |= {"settings": settings.as_json(), "versions": versions(), "contamination": None}
    if train is not None and evaluation is not None:
        result["contamination"] = leaks_of(evaluation, bare, train, known, shared)
    result["toxicity"] = None if toxic is None else toxic(result["items"])
    result = judged(result, reasoning.least(task))
    if out is not None:
        code = result.pop("_exit", 0)
        store.write_json(out, result)
        result |= {"items": str(out), "_exit": code}
    return result


def _folder(data: str) -> Path:
    """The folder of a task's data, fetched where it lies on the hub."""
    if not data.startswith("hf:"):
        return Path(data)
    from tutelage.data.hub import downloaded

    return downloaded(data)[0]


def _check_rows(data: str | None, reasoning: Reasoning) -> None:
    if data is None:
        raise ConfigError(
            "say on what", field="--data, --task", expected="rows with --data, or a --task"
        )
    if reasoning.written:
        raise ConfigError(
            "--written has no effect on rows, whose answers are always written",
            field="--written", got=True, hint="leave it out",
        )  # fmt: skip
    if reasoning.helm:
        raise ConfigError("--helm has no effect without a --task", field="--helm", got=True)
    if reasoning.samples > 1 or reasoning.pal or reasoning.sandbox != "strict":
        raise ConfigError(
            "programs are asked for by a --task alone", field="--samples, --pal, --sandbox"
        )


def _check_task_options(asked: Asked, metric: Sequence[str]) -> None:
    """What of rows a task has of its own."""
    for flag, value in (
        ("--examples", asked.examples),
        ("--strict", asked.strict or None),
        ("--metric", None if tuple(metric) == STANDARD else metric),
    ):
        if value is not None:
            raise ConfigError(
                f"{flag} has no effect with --task, which says it itself", field=flag, got=value
            )


def _scorer(name: str) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """What measures the share of toxic answers; everything that was said counts."""
    from tutelage.evaluate.toxicity import rate, scorer

    found = scorer(name)

    def measure(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        said = ["\n".join(item.get("said") or [item["answer"]]) for item in items]
        return {"scorer": name, **rate(found, said)}

    return measure


def _train(data: str) -> tuple[Row, ...]:
    """Rows of training, of any shape."""
    from tutelage.data.load import load

    return load(data).rows


def show(result: dict[str, Any]) -> None:
    """Print the metrics as a table, and what was not measured as it should be."""
    from rich.console import Console

    from tutelage.data.told import shown

    if "recommended" in result:
        return show_selected(result)
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
    lines += _more(result)
    if isinstance(result["items"], str):
        lines.append(f"items: {result['items']}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _more(result: dict[str, Any]) -> list[str]:
    """What a task, votes and known training rows have to say."""
    lines = []
    if result["collapse"] is not None:
        lines.append(f"- WARNING: {result['collapse']['warning']}")
    if not result["valid"] and "reason" in result:
        lines.append(f"- NOT VALID: {result['reason']}")
    if result["helm"] is not None:
        from tutelage.evaluate.helm import lines as told

        lines += [f"  {name:<12} {value:>7}  {rest}" for name, value, rest in told(result["helm"])]
    for one in result.get("calibration") or ():
        bar = "#" * round(40 * one["accuracy"])
        lines.append(
            f"  sure {one['confidence']:.2f}  right {one['accuracy']:.2f}  {bar} {one['n']}"
        )
    for one in result.get("published", ()):
        lines.append(f"  published: {one['model']} {one['score']:.3f}, {one['setting']}")
    if result["toxicity"] is not None:
        share = result["toxicity"]
        lines.append(f"- {share['value']:.1%} of answers toxic by {share['scorer']}")
    found = result["contamination"]
    if found is not None:
        lines.append(f"- {len(found['rows'])} of {found['n']} items are like rows of training:")
        for row in found["rows"][:5]:
            lines.append(f"  {row['id']}: {row['kind']} {row['similarity']:.2f}, {row['train_id']}")
        for name, both in found["metrics"].items():
            without = both["without"]["value"]
            said = "nothing left" if without is None else f"{without:.3f}"
            lines.append(f"  {name}: {both['with']['value']:.3f}, without them {said}")
    return lines


def _table(metrics: dict[str, dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("metric", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in metrics.items():
        table.add_row(name, f"{value['value']:.3f}", f"{value['low']:.3f} to {value['high']:.3f}")
    return table


def _check(
    metrics: Sequence[str], shots: int, limit: int | None, length: int | None, out: Path | None
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
        needs = METRICS.get(name, field="--metric").needs
        if needs not in (None, "encoder"):
            raise ConfigError(
                f"{name} comes from {needs}, not from answers", field="--metric", got=name,
                hint="a --task of choices, of code or --task text measures it",
            )  # fmt: skip
    if out is not None:
        from tutelage import store

        store.check_place(out, file=True)
    return names
