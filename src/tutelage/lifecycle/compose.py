"""The real tools of a run: models, training and rows of this package on this machine.

The one place where the lifecycle meets torch, and only for projects whose models have weights.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.backends.key import read_key
from tutelage.backends.open import fingerprint_of_text, open_lm, refuse_key, refuse_placement
from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.checkpoints.headed import task_of, writes_below
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.program import program_of
from tutelage.checkpoints.source import Source, parse
from tutelage.data.load import load
from tutelage.data.retention import retention
from tutelage.data.rows import Row
from tutelage.errors import RequestError, SourceError
from tutelage.lifecycle.project import Project
from tutelage.lifecycle.rungs import in_order
from tutelage.lifecycle.tools import Facts, Tools
from tutelage.lm import LM
from tutelage.machine import describe, memory
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.spec import Weight
from tutelage.plan.answering import Asked
from tutelage.progress import Progress, silent

if TYPE_CHECKING:
    from tutelage.train.config import TuneConfig

CANDIDATES = "models.candidates"
"""The key of a project that names its models."""
LIBRARIES = 110_000_000
"""Bytes that stay once a model has answered and its answers were scored: the libraries' code and
their buffers. Measured with preset:llama-tiny, torch 2.13 on Linux."""


def real_tools(
    project: Project,
    *,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
    strict: bool = False,
    api_key_file: Path | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda text: None,
) -> Tools:
    """Tools that compute on this machine, and ask servers with the key in `api_key_file`. Raises
    ConfigError for a device that is not here, and for a key that is none or that nobody asks for.
    """
    where: dict[str, Any] = {"device": device, "dtype": dtype, "exact": exact, "threads": threads}
    placed = _placement(project, **where)
    head = project.tuning.head
    if any(rung.method is not None for rung in in_order(project.search.rungs)):
        from tutelage.train.config import refuse_fp16

        refuse_fp16(placed["dtype"])
    machine = describe.described(placed)  # now: what is committed later is not at work
    _check_key(project, api_key_file)
    seed = project.search.seed
    models = _Models(where, placed["dtype"], seed, api_key_file, strict, note, head)
    return Tools(
        open_lm=models.open_lm,
        describe=lambda source: _describe(source, seed, head),
        tune=models.tune,
        predict=models.predict,
        resident=models.resident,
        predict_answering=models.predict_answering,
        predict_scoring=models.predict_scoring,
        load_rows=lambda source, prompt, completion: load(
            source, prompt=prompt, completion=completion, answered=True, strict=strict
        ),
        write_pages=_write_pages,
        machine=lambda: machine,
        now=time.monotonic,
        date=lambda: datetime.now(UTC).isoformat(timespec="seconds"),
        environment={**placed, "processor": describe.processor(), **_versions()},
        open_below=models.open_below,
        retention=lambda: retention(project.forgetting.retention, seed=seed),
        progress=progress,
        note=note,
        strict=strict,
    )


@dataclass(frozen=True)
class _Models:
    """What is done with models: asking and tuning them, and what either will take. `where` is what
    the user asked of the machine, `dtype` what that came to."""

    where: Mapping[str, Any]
    dtype: str | None
    seed: int
    api_key_file: Path | None
    strict: bool
    note: Callable[[str], None]
    head: str | None = None
    layouts: dict[str, list[Weight]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)

    def open_lm(self, source: str, adapter: Path | None) -> LM:
        self.opened.add(source)
        base = _base(source)
        here = self.where if base.has_weights else {}
        key = self.api_key_file if base.kind == "http" else None
        head = self.head if adapter is None and base.has_weights else None
        if head is not None and _only_reads(open_checkpoint(source, seed=self.seed)):
            from tutelage.backends.headed import open_untrained

            return open_untrained(source, head, seed=self.seed, **here)
        return open_lm(source, adapter=adapter, seed=self.seed, api_key_file=key, **here)

    def open_below(self, source: str, artefact: Path) -> LM:
        from tutelage.backends.below import open_below

        self.opened.add(source)
        return open_below(source, artefact, seed=self.seed, **self.where)

    def tune(
        self,
        source: str,
        rows: Sequence[Row],
        settings: Mapping[str, Any],
        out: Path,
        *,
        progress: Progress,
        deadline: Callable[[], bool],
    ) -> dict[str, Any]:
        from tutelage.train.tune import tune

        return tune(
            source, rows, _config(settings), out, progress=progress, note=self.note,
            deadline=deadline, strict=self.strict, **self.where,
        )  # fmt: skip

    def predict(
        self, source: str, rows: Sequence[Row], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        from tutelage.train.prepare import predict, prepare

        run = prepare(source, rows, _config(settings), strict=self.strict, **self.where)
        found = predict(run)
        return {
            "predicted_seconds": found.seconds,
            "predicted_memory": found.memory,
            "trained_parameters": run.trained_parameters,
            "steps_total": len(run.steps),
        }

    def predict_answering(self, source: str, asked: Asked) -> dict[str, int]:
        from tutelage.generate.memory import predict

        return predict(self._layout(source), str(self.dtype), asked, bool(self.where["exact"]))

    def predict_scoring(self, source: str) -> dict[str, int]:
        from tutelage.generate.memory import predict_scoring

        return predict_scoring(self._layout(source), str(self.dtype))

    def resident(self) -> int:
        return memory.resident() + (0 if self.opened else LIBRARIES)

    def _layout(self, source: str) -> list[Weight]:
        if source not in self.layouts:  # every rung asks, and opening takes a while
            self.layouts[source] = layout(open_checkpoint(source, seed=self.seed).config)
        return self.layouts[source]


def _placement(
    project: Project, device: str, dtype: str, exact: bool, threads: int | None
) -> dict[str, Any]:
    """Device, dtype, threads as resolved, None where every model answers elsewhere; torch is asked
    only where a model has weights."""
    if not any(_base(source).has_weights for source in project.models.candidates):
        refuse_placement(project.models.candidates[0], device, dtype, exact)
        return {"device": None, "dtype": None, "threads": None, "exact": exact}
    from tutelage.machine.device import resolve, use_threads

    count = use_threads(threads)
    found = resolve(device, dtype, exact)
    return {"device": found.device, "dtype": found.dtype, "threads": count, "exact": exact}


def _base(source: str) -> Source:
    """What a candidate's answers come from in the end: of a run, of what it recommends."""
    try:
        return parse(program_of(source).base)
    except SourceError as error:
        error.field = CANDIDATES if error.field == "model" else error.field
        raise


def _check_key(project: Project, api_key_file: Path | None) -> None:
    """A key that cannot be read, or is for nobody, is refused before any work is done."""
    if api_key_file is None:
        return
    if not any(_base(source).kind == "http" for source in project.models.candidates):
        refuse_key(" and ".join(project.models.candidates), api_key_file)
    read_key(api_key_file)


def _only_reads(checkpoint: Checkpoint) -> bool:
    """Whether it is an encoder without a head."""
    return spec_for(checkpoint.config).family == "encoder" and task_of(checkpoint) is None


def _describe(source: str, seed: int, head: str | None) -> Facts:
    program = program_of(source)
    base, adapter = parse(program.base), program.adapter is not None
    if not base.has_weights:  # a changed server has the same print: it needs a fresh run
        return Facts(fingerprint_of_text(base), weights=False, on_top=program.on_top)
    checkpoint = open_checkpoint(source, seed=seed)
    only_reads = _only_reads(checkpoint)
    if only_reads and head is None:
        raise RequestError(
            "an encoder cannot be raised for a task: it reads whole texts and writes none",
            field=CANDIDATES,
            got=source,
            expected="decoders, encoder-decoders, servers, scripts",
            hint="with a head ([tuning] head) it learns labels, tags, choices or spans",
        )
    parameters = sum(math.prod(reader.shape) for reader in checkpoint.weights.values())
    return Facts(
        checkpoint.fingerprint, parameters, checkpoint.licence,
        on_top=program.on_top, adapter=adapter, writes=not only_reads,
        writes_below=head is None or writes_below(checkpoint, head),
    )  # fmt: skip


def _config(settings: Mapping[str, Any]) -> TuneConfig:
    from tutelage.config import validate
    from tutelage.train.config import TuneConfig

    return validate(TuneConfig, settings)


def _write_pages(record: dict[str, Any], folder: Path) -> list[Path]:
    from tutelage.lifecycle.card import write_card
    from tutelage.lifecycle.report import write_report

    return [write_report(record, folder), write_card(record, folder)]


def _versions() -> dict[str, str | None]:
    """Of all that decides what is read, rendered, computed and scored."""
    names = (
        *("tutelage", "torch", "numpy", "tokenizers", "jinja2", "gguf", "safetensors"),
        *("sacrebleu", "rouge-score"),
    )
    return {name: describe.package_version(name) for name in names} | {
        "python": platform.python_version()
    }
