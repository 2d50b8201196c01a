"""The command line that gives a run again, as its user must type it."""

from __future__ import annotations

import shlex

from tutelage.lifecycle.project import FILE
from tutelage.lifecycle.record import Record


def again(record: Record) -> str:
    """What decided the result is said, also where the machine had chosen it: another one would
    choose otherwise. Where every model answers elsewhere, there is nothing to say of this one."""
    machine = record.detail.machine
    words = ["tutelage", "run", f"{record.run}/{FILE}", "--fresh"]
    words += ["--seed", str(record.detail.project.search.seed)]
    for flag, value in (
        ("--device", machine.device),
        ("--dtype", machine.dtype),
        ("--threads", machine.threads),
    ):
        if value is not None:
            words += [flag, str(value)]
    return shlex.join([*words, *(["--exact"] if machine.exact else [])])
