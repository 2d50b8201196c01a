"""Finished work is kept under the hash of everything it follows from, and never done twice.

    stages = Stages(run_folder / "stages", environment, note)
    result = stages.run(Stage("evaluate", inputs, work, code=("tutelage.evaluate.run",)))

The key covers the inputs, the code of the named modules and of all they import (`code_hash`), and
the environment (versions, dtype, threads, processor). A stage is a folder that appears whole or not
at all; one that is damaged is named and done again. Results are plain JSON, whose numbers come back
bit for bit. Knows nothing of what a stage does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.code_hash import code_hash
from tutelage.errors import DamagedError

RESULT = "result.json"
Result = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A piece of work: `make()` follows from `inputs` and the code of these modules: the one that
    makes it, and those it is handed (`tools`) rather than imports.

    `check` may raise DamagedError for files that the result speaks of and that lie elsewhere.
    """

    name: str
    inputs: Mapping[str, Any]
    make: Callable[[], Result]
    code: tuple[str, ...] = ()
    check: Callable[[Result], None] | None = None


class Stages:
    """The cache of one run. `note` is told of what was damaged; `after` is called when a stage has
    been made."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, Any],
        note: Callable[[str], None],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._note = note
        self._after = after
        self.made: list[str] = []
        """Folder names of the stages done by this object, in order."""

    def key(self, stage: Stage) -> str:
        """SHA-256 over everything the stage follows from."""
        code = code_hash(*stage.code)
        parts = {"inputs": dict(stage.inputs), "code": code, "environment": self._environment}
        return store.digest(parts)

    def run(self, stage: Stage) -> Result:
        """The stage's result, found or made now."""
        found = self.done(stage)
        if found is not None:
            return found
        result = stage.make()
        folder = self._place(stage)
        with store.new_folder(folder) as new:
            store.write_json(new / RESULT, result)
        self.made.append(folder.name)
        self._after()
        # Read back, so that a result made now and one found later are equal: tuples become lists.
        return dict(store.read_json(folder / RESULT))

    def done(self, stage: Stage) -> Result | None:
        """The result if the stage was finished before and nothing of it is damaged."""
        folder = self._place(stage)
        if not folder.exists():
            return None
        try:
            store.verify(folder)
            result = dict(store.read_json(folder / RESULT))
            if stage.check is not None:
                stage.check(result)
        except (DamagedError, KeyError, TypeError) as error:
            self._note(f"{stage.name} is done again: {error}")
            shutil.rmtree(folder)
            return None
        return result

    def _place(self, stage: Stage) -> Path:
        return self._folder / f"{_safe(stage.name)}-{self.key(stage)[:20]}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name)[:80]
