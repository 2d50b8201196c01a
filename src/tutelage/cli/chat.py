"""`tutelage chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tutelage.cli.choosing import Choosing, request_of
from tutelage.cli.generate import open_model, stream
from tutelage.cli.shared import Shared, not_text
from tutelage.errors import ConfigError, DataError, TutelageError

if TYPE_CHECKING:
    from tutelage.lm import LM, Completion, Message, Request

COMMANDS = "/reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer"


def chat(
    model: str,
    *,
    system: str | None = None,
    adapter: Path | None = None,
    max_new_tokens: int = 512,
    api_key_file: Path | None = None,
    choosing: Choosing | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Talk with a model. Each answer sees all turns before it.

    /reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer. A turn that fails
    is told and forgotten.

    From a file or a pipe one line is one turn. Where a turn fails there, the rest are still
    answered, and the exit code is that of the first failure: 1 the model failed, 2 the turn cannot
    be asked. With --json the conversation is printed at the end as {"messages", "answers"}, after a
    failure with the "error" too.

    Parameters
    ----------
    model
        A model source, as for `generate`.
    system
        What the model is told before the first turn.
    adapter
        Folder of an adapter to attach; it must have been made on this model.
    max_new_tokens
        The longest answer, in tokens.
    api_key_file
        File with the key of the server, for an http(s):// model.
    """
    shared = shared or Shared()
    asked = request_of((), max_new_tokens, choosing, shared.seed)
    lm = open_model(model, adapter, api_key_file, shared)
    out = sys.stderr if shared.json else sys.stdout
    talk = Conversation(lm, asked, system)
    typed = sys.stdin.isatty()
    if typed:
        print(COMMANDS, file=out)
    first = None
    for turn in _turns(prompting=typed and not shared.json):
        if turn == "/quit":
            break
        try:
            _take(talk, turn, out)
        except TutelageError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            first = first or error
    messages = [{"role": m.role, "content": m.content} for m in talk.messages]
    said = {"messages": messages, "answers": talk.answers}
    if typed or first is None:
        return said
    return {"error": first.as_json(), **said, "_exit": first.exit_code}


def show(result: dict[str, Any]) -> None:
    """The conversation was printed as it went."""


class Conversation:
    """The turns so far, and the model that answers the next one."""

    def __init__(self, lm: LM, asked: Request, system: str | None = None) -> None:
        """`asked` with each turn's messages for its prompt is what the model is asked."""
        self._lm = lm
        self._asked = asked
        self._system = system
        self.answers = 0
        self.messages: list[Message] = []
        self.reset()

    def reset(self) -> None:
        """Forget all turns but the system's."""
        from tutelage.lm import Message

        self.messages = [] if self._system is None else [Message("system", self._system)]

    def answer(self, turn: str, out: TextIO) -> Completion:
        """Write the answer to `turn` as it comes. A turn that fails is not remembered; an answer
        that was stopped is, as far as it came."""
        from tutelage.lm import Message

        turns = (*self.messages, Message("user", turn))
        request = replace(self._asked, prompt=turns)
        with _stoppable() as stopped:
            completion = stream(self._lm, request, out, lambda _: stopped[0])
        self.messages = [*turns, Message("assistant", completion.text)]
        self.answers += 1
        return completion


def _take(talk: Conversation, turn: str, out: TextIO) -> None:
    """Do what one line asks. Raises ConfigError for one that is no command, DataError for one that
    is no text, and what an answer raises."""
    if (unreadable := not_text(turn)) is not None:
        raise DataError("a turn is not text in UTF-8", got=unreadable, expected="UTF-8")
    if turn == "/reset":
        talk.reset()
    elif turn.startswith("/"):
        raise ConfigError(f"no such command: {turn}", got=turn, hint=COMMANDS)
    else:
        completion = talk.answer(turn, out)
        ends = {"length": " [cut at --max-new-tokens]", "cancelled": " [stopped]"}
        print(ends.get(completion.finish_reason, ""), file=out, flush=True)


def _turns(prompting: bool) -> Iterator[str]:
    """The lines people type, with editing and history on a terminal. Bytes that are no text become
    surrogates, so that they spoil one turn and not all."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if prompting:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (input() takes editing and history from it)
    while True:
        try:
            line = input("> " if prompting else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            if not prompting:
                raise
            print()
            continue
        if line.strip():
            yield line.strip()


@contextlib.contextmanager
def _stoppable() -> Iterator[list[bool]]:
    """Within the block Ctrl-C sets a flag, so that the answer ends between two tokens and what was
    said is kept. A second one interrupts as usual."""
    stopped = [False]
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        stopped[0] = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
