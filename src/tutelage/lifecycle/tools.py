"""What the ladder works with, handed in as one object: the real things, or fakes in tests.

Knows the shapes of the collaborators and nothing of how they work. `compose.py` puts the real ones
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tutelage import store
from tutelage.data.retention import Retention
from tutelage.data.rows import Loaded, Row
from tutelage.lifecycle.budget import BEAT_SECONDS
from tutelage.lm import LM
from tutelage.plan.answering import Asked
from tutelage.progress import Progress, silent


@dataclass(frozen=True)
class Facts:
    """What is known of a candidate's model before it is used."""

    base: str
    """Changes whenever the base's answers could: hash of weights and configuration, of a script, of
    a server's address."""
    parameters: int | None = None
    licence: str | None = None
    weights: bool = True
    """False for what is only asked: a server, a script."""
    on_top: str | None = None
    """What an earlier run put on the base, by its hash: an adapter, examples before prompts."""
    adapter: bool = False
    """Whether an adapter is among it."""
    writes: bool = True
    """False for an encoder without a head, which answers nothing until it was given one."""
    writes_below: bool = True
    """Whether under a head that it is given there is still a model that writes, whole."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the model's answers could."""
        return self.base if self.on_top is None else store.digest([self.base, self.on_top])

    @property
    def untunable(self) -> str | None:
        """Why it cannot be tuned; None if it can."""
        if not self.weights:
            return "a model without weights cannot be tuned"
        if self.adapter:
            return "the run recommends an adapter, which cannot be tuned on; name its base instead"
        return None


class Tune(Protocol):
    """`train.tune.tune`, with its configuration as plain settings."""

    def __call__(
        self,
        source: str,
        rows: Sequence[Row],
        settings: Mapping[str, Any],
        out: Path,
        *,
        progress: Progress,
        deadline: Callable[[], bool],
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Tools:
    """The collaborators of one run."""

    open_lm: Callable[[str, Path | None], LM]
    """A base model, with an adapter or without; or a tuned model folder."""
    describe: Callable[[str], Facts]
    """Opens, and where needed downloads, a source."""
    tune: Tune
    predict: Callable[[str, Sequence[Row], Mapping[str, Any]], dict[str, Any]]
    """`{"predicted_seconds", "predicted_memory", "trained_parameters", "steps_total"}` of a
    tuning."""
    resident: Callable[[], int]
    """Bytes the process holds while no model is open, and goes on holding while one is."""
    predict_answering: Callable[[str, Asked], dict[str, int]]
    """Bytes by component that answering adds to these, for a model with weights."""
    predict_scoring: Callable[[str], dict[str, int]]
    """Likewise scoring of texts."""
    load_rows: Callable[[str, str | None, str | None], Loaded]
    """A data source, with templates for prompt and completion."""
    write_pages: Callable[[dict[str, Any], Path], Sequence[Path]]
    """Report and card of a record, written into the run's folder."""
    machine: Callable[[], dict[str, Any]]
    """The fields of `record.Machine`."""
    now: Callable[[], float]
    """Seconds that only grow."""
    date: Callable[[], str]
    """ISO 8601, UTC."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What else results follow from: versions, device, dtype, threads, processor."""
    open_below: Callable[[str, Path], LM] | None = None
    """Of a base tuned under a head the model that writes: what tuning left of it is measured so."""
    retention: Callable[[], Retention] | None = None
    """Text away from the task, to measure forgetting on; None leaves forgetting unmeasured."""
    progress: Progress = silent
    note: Callable[[str], None] = lambda text: None
    """Told what the user should know while the run runs."""
    beat_seconds: float | None = BEAT_SECONDS
    strict: bool = False
    """Whether a row that cannot be used stops the run instead of being set aside."""
