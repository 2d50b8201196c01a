"""What every verb shares: the common options, the one place for answers, and progress.

    def eval(model: str, *, shots: int = 0, shared: Shared | None = None) -> dict[str, Any]:
        shared = shared or Shared()
        placement = shared.placement()          # imports torch: only verbs that need it call this
        bar = progress(shared)                  # a progress.Progress on stderr

Knows nothing of any verb. Imports neither torch nor pydantic nor numpy.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Group, Parameter

from tutelage.cli.progress import Display
from tutelage.errors import ConfigError
from tutelage.progress import Progress, silent
from tutelage.store import to_json

if TYPE_CHECKING:
    from tutelage.machine.device import Placement

COMMON = Group("Common options", sort_key=100)


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Shared:
    """The options every verb takes."""

    json: bool = False
    """Print exactly one JSON object on stdout; all else goes to stderr."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes cuda, then mps, then cpu."""
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format; auto takes bf16 where the processor has units for it."""
    exact: bool = False
    """float32 and batch-invariant: the same answer whatever shares the batch."""
    seed: int | None = None
    """Seed of every random choice."""
    threads: Annotated[int | None, Parameter(name="--threads")] = None
    """Processor threads; all cores if not given."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(
                "--threads must be at least 1", field="--threads", got=self.threads, expected=">= 1"
            )
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise ConfigError(
                "--seed must be a non-negative 63-bit number",
                field="--seed",
                got=self.seed,
                expected="0 .. 2^63 - 1",
            )

    def where(self) -> dict[str, Any]:
        """Device, type and threads as they were asked for, by the names that work knows them by."""
        names = ("device", "dtype", "exact", "threads")
        return {name: getattr(self, name) for name in names}

    def placement(self) -> Placement:
        """Device and dtype as resolved here; sets torch's threads. Raises ConfigError."""
        from tutelage.machine.device import resolve, use_threads

        use_threads(self.threads)
        return resolve(self.device, self.dtype, self.exact)


def progress(shared: Shared | None) -> Progress:
    """Where work reports to: bars on a terminal, throttled lines elsewhere, nothing if --quiet."""
    if shared is not None and shared.quiet:
        return silent
    return _DISPLAY


def stop_progress() -> None:
    """Take the bars off the terminal; called before anything else is printed."""
    _DISPLAY.stop()


def not_text(given: str) -> str | None:
    """What was given, to be shown, if it holds bytes that are no UTF-8: it could be neither read
    nor printed nor written down. None for text. Python passes such bytes on as lone surrogates."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return given.encode(errors="backslashreplace").decode().replace(r"\udc", r"\x")
    return None


def answer(result: Mapping[str, Any]) -> None:
    """Print one JSON object as one line on the real stdout, flushed.

    For verbs that go on running after their answer (`serve`); all others return theirs.
    """
    text = to_json(dict(result), indent=None)
    stream = _answers[-1] if _answers else sys.stdout
    stream.write(text + "\n")
    stream.flush()


@contextlib.contextmanager
def protected_stdout() -> Iterator[None]:
    """Within the block only `answer` reaches stdout: prints of libraries and of child processes go
    to stderr, by file descriptor too."""
    real = sys.stdout
    duplicate = _duplicate_stdout(real)
    _answers.append(duplicate or real)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = real
        _answers.pop()
        if duplicate is not None:
            with contextlib.suppress(BrokenPipeError):
                duplicate.flush()
            os.dup2(duplicate.fileno(), 1)
            with contextlib.suppress(BrokenPipeError):
                duplicate.close()


def _duplicate_stdout(stream: TextIO) -> TextIO | None:
    """Point descriptor 1 at stderr and return a stream on the old one; None if not descriptor 1."""
    try:
        if stream.fileno() != 1:
            return None
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return None
    stream.flush()
    copy = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return copy


_answers: list[TextIO] = []
_DISPLAY = Display()
