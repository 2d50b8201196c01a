"""`tutelage run [PROJECT.toml]`: the measured life of a project; without one the quickstart."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.columns import Column, fitting, terminal_width
from tutelage.cli.progress import duration
from tutelage.cli.shared import Shared, progress, stop_progress

if TYPE_CHECKING:
    from tutelage.lifecycle.budget import Clock
    from tutelage.lifecycle.contender import Contender
    from tutelage.lifecycle.project import Project


def run(
    project: Path | None = None,
    *,
    out: Path | None = None,
    fresh: bool = False,
    strict: bool = False,
    api_key_file: Path | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Try the ways of adapting a model that a project names, and recommend one by measurement.

    The same command goes on where it was stopped, however it was stopped.

    Parameters
    ----------
    project
        A project file, or a folder with a project.toml; the built-in quickstart if not given.
    out
        The run's folder; runs/NAME if not given.
    fresh
        Start anew in a folder beside it instead of going on.
    strict
        Stop at the first row that cannot be used instead of setting it aside.
    api_key_file
        File with the key of the servers among the candidates (http://...#MODEL); it is sent to
        them and written nowhere.
    """
    shared = shared or Shared()
    from tutelage.lifecycle.compose import real_tools
    from tutelage.lifecycle.project import find
    from tutelage.lifecycle.run import run

    plan = _seeded(find(project), shared.seed)
    tools = real_tools(
        plan,
        device=shared.device,
        dtype=shared.dtype,
        exact=shared.exact,
        threads=shared.threads,
        strict=strict,
        api_key_file=api_key_file,
        progress=progress(shared),
        note=_note,
    )
    told = _quiet if shared.quiet else _Settled(plan)
    record = run(plan, out=out, fresh=fresh, tools=tools, told=told)
    return {key: value for key, value in record.items() if key != "detail"} | {
        "metric": record["detail"]["metric"],
        "front": record["detail"]["front"],
    }


def show(result: dict[str, Any]) -> None:
    """Print the candidates as a table, the recommendation, and what to do next."""
    lines = fitting(_tables(result), terminal_width())
    print("\n".join(lines))
    if any(line.startswith(MARK) for line in lines):
        print(f"{MARK}recommended")
    for one in result["candidates"]:
        if one["status"] != "done" or one["over_budget"]:
            print(f"- {one['name']}: {one['reason']}")
    print(f"\n{result['reason']}\n")
    print(f"report  {result['report']}\ncard    {result['card']}")
    if result["recommended"] is None:
        return
    run_folder = shlex.quote(result["run"])
    print(f"model   {result['model']}\n\nnext:")
    print(f"  tutelage generate {run_folder} 'your prompt'")
    print(f"  tutelage serve {run_folder}")
    print(f"  open {shlex.quote(result['report'])} in a browser")


MARK = "* "
"""Before the recommended candidate where the terminal has no room to say so behind it."""


class _Settled:
    """Prints a line for every candidate as soon as it is settled."""

    def __init__(self, plan: Project) -> None:
        from tutelage.lifecycle.rungs import in_order

        self._metric = plan.task.metric
        headed = plan.tuning.head is not None
        self._total = len(in_order(plan.search.rungs, headed=headed)) * len(plan.models.candidates)
        self._count = 0

    def __call__(self, one: Contender, clock: Clock) -> None:
        stop_progress()
        self._count += 1
        place = f"{self._count}/{self._total}"
        line = f"{place:>5}  {one.name:<28} {self._outcome(one)}"
        if clock.minutes is not None:
            line += f"  ({duration(max(clock.left(), 0))} left)"
        print(line, file=sys.stderr, flush=True)

    def _outcome(self, one: Contender) -> str:
        from tutelage.lifecycle.contender import interval

        if one.development is None or not one.finished:
            return one.reason
        measured = interval(one.development, self._metric)
        seconds = one.seconds + one.measuring_seconds
        over = "; over the memory limit" if one.over_budget else ""
        if one.collapse is not None:
            over += f"; one answer to all, {one.collapse.answer!r}"
        return f"{self._metric} {measured} in {duration(seconds)}{over}"


def _quiet(one: Contender, clock: Clock) -> None:
    """Say nothing of a candidate."""


def _note(text: str) -> None:
    stop_progress()
    print(f"note: {text}", file=sys.stderr, flush=True)


def _seeded(plan: Project, seed: int | None) -> Project:
    if seed is None:
        return plan
    return plan.model_copy(update={"search": plan.search.model_copy(update={"seed": seed})})


def _tables(result: dict[str, Any]) -> list[list[Column]]:
    """The candidates with all figures, then with fewer and fewer."""
    every = result["candidates"]
    metric = result["metric"]
    chosen = (result["recommended"] or {}).get("candidate")
    development = [one["development"].get(metric) for one in every]
    test = [(one["test"] or {}).get(metric) for one in every]
    remarks = [_remark(one, chosen) for one in every]
    marked = [(MARK if one["name"] == chosen else "  ") + one["name"] for one in every]
    name = Column("candidate", [one["name"] for one in every], left=True)
    marks = Column("  candidate", marked, left=True)
    wide = Column(f"{metric},\ndevelopment", [_interval(one) for one in development])
    brief = Column(f"{metric},\ndevelopment", [_value(one) for one in development])
    on_test = Column(f"{metric},\ntest", [_interval(one) for one in test])
    made = Column("made\nin", [_brief(one["seconds"]) for one in every])
    answers = Column("1,000\nanswers", [_brief(one["seconds_per_1000_answers"]) for one in every])
    peak = Column("peak\nmemory", [_gigabytes(one["peak_bytes"]) for one in every])
    lost = Column("forgetting", [_value(one["forgetting"]) for one in every])
    remark = Column("", remarks, left=True)
    figures = [on_test, made, answers]
    return [
        [name, wide, *figures, peak, lost, remark],
        [name, wide, *figures, peak, remark],
        [name, wide, *figures, remark],
        [name, brief, *figures, remark],
        [marks, brief, *figures],
        [marks, *figures],
    ]


def _remark(one: dict[str, Any], chosen: str | None) -> str:
    if one["name"] == chosen:
        return "recommended"
    if one["over_budget"]:
        return "over budget"
    if one["collapse"] is not None:
        return "one answer to all"
    return "" if one["status"] == "done" else str(one["status"])


def _brief(seconds: float | None) -> str:
    """`84 s`, `17 min`, `2.5 h`."""
    if seconds is None:
        return "-"
    if seconds < 999.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def _gigabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e9:.2f} GB"


def _value(measured: dict[str, Any] | None) -> str:
    return "-" if measured is None or measured["value"] is None else f"{measured['value']:.3f}"


def _interval(measured: dict[str, Any] | None) -> str:
    if measured is None or measured["value"] is None:
        return "-"
    return f"{measured['value']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})"
