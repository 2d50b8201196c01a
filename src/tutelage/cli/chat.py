"""`tutelage chat`: a conversation in the terminal."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tutelage.cli.generate import Choosing, open_model, request_of, say
from tutelage.cli.shared import Shared
from tutelage.errors import TutelageError, WorkError

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

    /reset forgets the conversation, /quit or Ctrl-D ends, Ctrl-C stops an answer. With --json the
    turns are read from standard input, one a line, and the conversation is printed at the end.

    Parameters
    ----------
    model
        A model source, as for `generate`.
    system
        What the model is told before the first turn.
    adapter
        Folder of an adapter to attach.
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
    if sys.stdin.isatty():
        print(COMMANDS, file=out)
    for turn in _turns(prompting=sys.stdin.isatty() and not shared.json):
        if turn == "/quit":
            break
        if turn == "/reset":
            talk.reset()
        elif turn.startswith("/"):
            print(f"no such command: {turn}; {COMMANDS}", file=out)
        else:
            _answer(talk, turn, out)
    messages = [{"role": m.role, "content": m.content} for m in talk.messages]
    return {"messages": messages, "answers": talk.answers}


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
        from tutelage.lm import Completion, Message

        turns = (*self.messages, Message("user", turn))
        request = replace(self._asked, prompt=turns)
        with _stoppable() as stopped:
            for event in self._lm.generate([request], lambda _: stopped[0]):
                if isinstance(event, Completion):
                    self.messages = [*turns, Message("assistant", event.text)]
                    self.answers += 1
                    return event
                say(event.text, out)
        raise WorkError("the model ended without an answer")


def _answer(talk: Conversation, turn: str, out: TextIO) -> None:
    try:
        completion = talk.answer(turn, out)
    except TutelageError as error:
        print(f"error: {error}", file=sys.stderr)
        return
    ends = {"length": " [cut at --max-new-tokens]", "cancelled": " [stopped]"}
    print(ends.get(completion.finish_reason, ""), file=out, flush=True)


def _turns(prompting: bool) -> Iterator[str]:
    """The lines people type, with editing and history on a terminal."""
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
