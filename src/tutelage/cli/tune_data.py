"""What `tutelage tune` learns from: one task or several, with templates, turns and replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Group, Parameter

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.data.rows import Loaded, Row

MIXTURE = Group("Options of the data", sort_key=40)
Json = dict[str, Any]


@Parameter(name="*", group=MIXTURE)
@dataclass(frozen=True)
class Mixture:
    """Several tasks, and other data beside them."""

    cap: int | None = None
    """The most rows that count of each of several --data: what a large task takes is bounded."""
    temperature: float | None = None
    """1 mixes tasks by their rows, a larger one evens them out."""
    turns: Literal["last", "all"] = "last"
    """Of conversations learn the last answer, or every one whose "weight" is not 0."""
    replay: str | None = None
    """General data to learn beside the task against forgetting: rows, or plain text."""
    replay_share: float | None = None
    """Which share of all rows they are; a tenth if not given."""
    retention: str | None = None
    """Text on which forgetting is measured, as a file; prose of Python's reference if not given."""
    questions: int = 8
    """General questions of each of four small tasks asked before and after; 0 asks none."""
    instructions: int = 12
    """Instructions that a program can check, likewise."""


def loaded_for(
    data: Sequence[str], mixture: Mixture, seed: int, *, prompt: Sequence[str],
    completion: str | None, strict: bool,
) -> tuple[Loaded, list[Json]]:  # fmt: skip
    """All rows, and what was taken of each source. Raises what `load` raises, and ConfigError for
    settings of a mixture that is none."""
    from tutelage.data.load import load

    _check(data, mixture)
    found = {
        one: load(
            one, prompt=prompt or None, completion=completion, answered=True, strict=strict,
            seed=seed,
        )
        for one in dict.fromkeys(data)
    }  # fmt: skip
    return joined(found, mixture, seed)


def joined(found: dict[str, Loaded], mixture: Mixture, seed: int) -> tuple[Loaded, list[Json]]:
    """Several sources as one, the rows set aside of each among them."""
    from tutelage.data.replay import replay
    from tutelage.data.rows import Loaded
    from tutelage.data.tasks import each_turn, mixed, replayed

    tasks: dict[str, Sequence[Row]] = {name: one.rows for name, one in found.items()}
    if mixture.turns == "all":
        tasks = {name: each_turn(rows) for name, rows in tasks.items()}
    rows, taken = mixed(
        _named_apart(tasks), cap=mixture.cap, seed=seed,
        temperature=1.0 if mixture.temperature is None else mixture.temperature,
    )  # fmt: skip
    told = [asdict(one) for one in taken]
    if mixture.replay is not None:
        general, before = replay(mixture.replay, mixture.retention), len(rows)
        share = 0.1 if mixture.replay_share is None else mixture.replay_share
        rows = replayed(rows, general, share, seed)
        told.append(
            {"task": mixture.replay, "rows": len(general), "taken": len(rows) - before}
        )  # fmt: skip
    aside = tuple(fault for one in found.values() for fault in one.set_aside)
    notes = tuple(note for one in found.values() for note in one.notes)
    return Loaded(rows, aside, len(rows) + len(aside), notes), told


def _named_apart(tasks: dict[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    """Ids are one task's own: of several each is named with its task."""
    if len(tasks) == 1:
        return tasks
    return {
        name: [replace(row, id=f"{name}:{row.id}") for row in rows] for name, rows in tasks.items()
    }


def _check(data: Sequence[str], mixture: Mixture) -> None:
    if not data:
        raise ConfigError("--data is missing", field="--data", expected="rows to learn")
    for flag, count in (
        ("--questions", mixture.questions), ("--instructions", mixture.instructions),
    ):  # fmt: skip
        if count < 0:
            raise ConfigError("no number of rows", field=flag, got=count, expected="0 or more")
    for flag, value in (("--temperature", mixture.temperature),):
        if value is not None and len(data) == 1:
            raise ConfigError(
                f"{flag} has no effect on one task", field=flag, got=value,
                expected="several --data",
            )  # fmt: skip
    if mixture.retention is not None:
        from tutelage.data.retention import retention

        retention(mixture.retention)  # fails now, not after hours
    if mixture.replay_share is not None and mixture.replay is None:
        raise ConfigError(
            "--replay-share without --replay", field="--replay-share", got=mixture.replay_share,
            hint="name general data with --replay, as builtin:stdlib-docs",
        )  # fmt: skip
