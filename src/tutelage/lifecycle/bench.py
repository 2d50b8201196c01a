"""What every stage of a run works at: project, rows, tools, clock, and the one model in memory.

Decides nothing and measures nothing; `answering`, `tuning` and `forgetting` do, and the ladder says
which. At most one model is held at a time, so that memory is what the dearest step needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.backends.constant import Constant, ConstantLM
from tutelage.data.retention import Retention
from tutelage.data.rows import Row
from tutelage.lifecycle.budget import Clock
from tutelage.lifecycle.learned import Beside, learned
from tutelage.lifecycle.material import Material
from tutelage.lifecycle.project import Project
from tutelage.lifecycle.stages import Stages
from tutelage.lifecycle.tools import Facts, Tools
from tutelage.lm import LM
from tutelage.machine.memory import release, trim
from tutelage.peft import METHODS


@dataclass(frozen=True)
class Subject:
    """What answers: a base model, or what tuning made of it."""

    model: str
    method: str | None = None
    artefact: Path | None = None
    below: bool = False
    """The model that writes, without the head that it was tuned under."""
    constant: Constant | None = None
    """The answer that is given without asking the model."""

    @property
    def label(self) -> str:
        """For the names of stages."""
        return "majority" if self.constant is not None else self.method or "base"


class Bench:
    """One project on one run folder. `material` may be replaced once, when its rows are fitted."""

    def __init__(
        self,
        project: Project,
        material: Material,
        tools: Tools,
        stages: Stages,
        clock: Clock,
        facts: Mapping[str, Facts],
        folder: Path,
        retention: Retention | None = None,
        beside: Beside = Beside({}, ()),
    ) -> None:
        self.project = project
        self.material = material
        self.tools = tools
        self.stages = stages
        self.clock = clock
        self.facts = dict(facts)
        self.folder = folder
        self.retention = retention
        self.beside = beside
        self._held: tuple[Subject, LM] | None = None
        self._before = 0
        """Bytes that were resident before the model held was opened."""

    @property
    def seed(self) -> int:
        return self.project.search.seed

    @property
    def metric(self) -> str:
        return self.project.task.metric

    def learned(self) -> tuple[Row, ...]:
        """The rows that are tuned on."""
        return learned(self.project, self.material.train, self.beside, self.seed)

    def identity(self, subject: Subject) -> dict[str, Any]:
        """What the subject's answers follow from, as inputs of a stage."""
        tuned = (
            None if subject.artefact is None else store.sha256(subject.artefact / store.MANIFEST)
        )
        fingerprint = self.facts[subject.model].fingerprint
        found = {"model": fingerprint, "method": subject.method, "tuned": tuned}
        return found if subject.constant is None else {**found, "constant": vars(subject.constant)}

    def lm(self, subject: Subject) -> LM:
        """The subject's model; the one held before is let go first."""
        if self._held is None or self._held[0] != subject:
            self._before = self.resident(subject)
            self._held = (subject, self._opened(subject))
            trim()  # of what its weights were made from
        return self._held[1]

    def _opened(self, subject: Subject) -> LM:
        if subject.constant is not None:
            return ConstantLM(subject.constant)
        if subject.below:
            assert self.tools.open_below is not None and subject.artefact is not None
            return self.tools.open_below(subject.model, subject.artefact)
        if subject.method is None or METHODS.get(subject.method).adapter:
            return self.tools.open_lm(subject.model, subject.artefact)
        return self.tools.open_lm(str(subject.artefact), None)

    def make_room(self, subject: Subject) -> None:
        """Let go of any other model and of what was freed, so that what is measured next is the
        subject's alone."""
        if self._held is not None and self._held[0] == subject:
            release()
        else:
            self.let_go()

    def resident(self, subject: Subject) -> int:
        """Bytes the process holds without the subject's model, and goes on holding with it."""
        if self._held is not None and self._held[0] == subject:
            return self._before
        self.let_go()
        return self.tools.resident()

    def let_go(self) -> None:
        """Free the memory of the model held, and of what was tuned: the next one's peak is to be
        its own."""
        self._held = None
        release()
