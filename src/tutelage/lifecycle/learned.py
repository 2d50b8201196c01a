"""What rungs that tune learn from: the task's training rows, other tasks' and general data beside.

No other row that gives a test or development row away is among them. Which rows a mixture takes
follows from the seed; see `data/tasks` for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tutelage.data.contamination import overlap
from tutelage.data.replay import replay
from tutelage.data.rows import Row
from tutelage.data.tasks import mixed, replayed
from tutelage.lifecycle.material import Load, Material
from tutelage.lifecycle.project import Project

OWN = "task"


@dataclass(frozen=True)
class Beside:
    """Rows of other tasks by their source, general rows, and what was removed from them."""

    tasks: Mapping[str, tuple[Row, ...]]
    general: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def beside(project: Project, material: Material, load: Load) -> Beside:
    """Load what a project names. Raises what `load` raises."""
    wanted, held = project.tuning, (*material.development, *material.test)
    tasks: dict[str, tuple[Row, ...]] = {}
    notes: list[str] = []
    for source in wanted.mixture:
        tasks[source] = _apart(source, load(source, None, None).rows, held, notes)
    general: tuple[Row, ...] = ()
    if wanted.replay is not None:
        rows = replay(wanted.replay, project.forgetting.retention)
        general = _apart(wanted.replay, rows, held, notes)
    return Beside(tasks, general, tuple(notes))


def _apart(
    source: str, rows: Sequence[Row], held: Sequence[Row], notes: list[str]
) -> tuple[Row, ...]:
    """Without those that give a row away that is measured on, under names of the source's own."""
    asked = [row for row in rows if row.answered]
    found = {pair.train_id for pair in overlap(asked, held).pairs}
    if found:
        notes.append(f"{len(found)} rows of {source} stand in rows measured on and were removed.")
    return tuple(replace(row, id=f"{source}:{row.id}") for row in rows if row.id not in found)


def learned(project: Project, train: Sequence[Row], others: Beside, seed: int) -> tuple[Row, ...]:
    """All rows that are tuned on; the task's own where nothing else is named."""
    wanted, rows = project.tuning, tuple(train)
    if others.tasks:
        tasks = {OWN: rows, **others.tasks}
        rows, _ = mixed(tasks, cap=wanted.cap, temperature=wanted.temperature, seed=seed)
    if others.general:
        rows = replayed(rows, others.general, wanted.replay_share, seed)
    return rows
