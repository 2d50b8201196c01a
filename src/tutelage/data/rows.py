"""What a row is, and what becomes of a row that cannot be used.

Knows the shapes a loaded row can have and the fixed names of the reasons for setting one aside.
Knows nothing of files and formats (`files`), of how a JSON object becomes a row (`shapes`), and of
tokens: lengths are handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tutelage.errors import DataError
from tutelage.lm import Message
from tutelage.prompts.few_shot import Example

REASONS: Mapping[str, str] = MappingProxyType(
    {
        "bad-json": "not one strict JSON value",
        "bad-csv": "quotes that open or close in the wrong place",
        "wrong-columns": "more or fewer cells than the header has columns",
        "bad-utf8": "bytes that are not UTF-8",
        "not-text": "a record of the web that holds no page of text",
        "line-too-long": "a line beyond the limit of bytes",
        "nul-or-surrogate": "a NUL character or half of a surrogate pair in a text",
        "wrong-type": "a value of another type than its key needs",
        "missing-key": "a key that its shape needs is absent",
        "unknown-shape": "none of the known shapes",
        "empty-prompt": "nothing but white space to answer",
        "empty-completion": "nothing but white space as the answer",
        "empty-text": "nothing but white space as the text",
        "duplicate-id": "an id that an earlier row has",
        "unknown-label": "a label that no training row has, or that is no label",
        "no-choices": "a question without choices to choose from",
        "outside-text": "an answer that does not stand where it is said to",
        "no-answer": "no prompt with an answer, where one is needed",
        "contaminated": "a test row that the training rows give away",
        "duplicate-of-training": "a development row that the training rows give away",
        "too-long": "more tokens than the model's context",
        "template": "the chat template refuses it",
    }
)
"""Every reason for which a row is set aside, with its meaning."""


TASKS = frozenset({"tags", "choices", "context"})
"""Keys of `Row.extra` that say all of a row whose prompt and answer were written from it."""


WHOLE = "learned_whole"
"""The key of `Row.extra` that says of a plain text that it is to be learned (`replay.py`)."""


@dataclass(frozen=True)
class Row:
    """One example. Which fields are set tells its shape:

    prompt and completion, or messages   `messages` and `completion`
    text with a label                    the same, and `label` equal to the completion
    plain text                           `text` alone
    tagged tokens, choices, a question   `extra`, and `messages` and `completion` written from it
    about a passage                      (`text/task_text.py`)
    preferences                          `extra` and `messages`
    """

    id: str
    where: str
    """FILE:LINE, for messages to people."""
    messages: tuple[Message, ...] = ()
    completion: str | None = None
    text: str | None = None
    label: str | None = None
    source: str | None = None
    """The document or module it came from: the unit of the split."""
    weight: float = 1.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Validated: tokens and tags; chosen and rejected; completions and ranking; choices; a
    question's context."""

    @property
    def answered(self) -> bool:
        """Whether it has a prompt and a right answer: what can be asked and compared."""
        return bool(self.messages) and self.completion is not None

    def example(self) -> Example:
        """The row as an example to be shown in a prompt. Raises ValueError without completion."""
        if self.completion is None:
            raise ValueError(f"row {self.id} has no completion to show")
        return Example(self.messages, self.completion, self.source, self.id)

    def as_json(self) -> dict[str, Any]:
        """The row as an object that loads as this row again, except for `where`."""
        found: dict[str, Any] = {"id": self.id}
        if self.text is not None:
            found["text"] = self.text
        elif self.label is not None:
            found |= {"text": self.messages[-1].content, "label": self.label}
        elif self.completion is not None and not TASKS.intersection(self.extra):
            turns = (*self.messages, Message("assistant", self.completion))
            found["messages"] = [{"role": t.role, "content": t.content} for t in turns]
            for turn, weight in zip(
                found["messages"], self.extra.get("turn_weights", ()), strict=False
            ):
                turn["weight"] = weight
        elif self.messages and not TASKS.intersection(self.extra):
            found["prompt"] = self.messages[-1].content
        found |= {key: value for key, value in self.extra.items() if key != "turn_weights"}
        if self.source is not None:
            found["source"] = self.source
        if self.weight != 1.0:
            found["weight"] = self.weight
        return found


@dataclass(frozen=True)
class SetAside:
    """A row that is not used. `reason` is one of REASONS; `where` is FILE:LINE."""

    where: str
    reason: str
    detail: str

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"{self.reason!r} is not one of the reasons: {', '.join(REASONS)}")


@dataclass(frozen=True)
class Loaded:
    """The rows of one source in their order, what was set aside, and what a report must say."""

    rows: tuple[Row, ...]
    set_aside: tuple[SetAside, ...]
    total: int
    notes: tuple[str, ...] = ()
    """Sentences the report prints, as that this text was surely in the model's pretraining."""

    def __post_init__(self) -> None:
        if self.total != len(self.rows) + len(self.set_aside):
            raise ValueError(
                f"{self.total} rows in, but {len(self.rows)} used and {len(self.set_aside)} aside"
            )

    def reasons(self) -> dict[str, int]:
        """Reason -> how many rows were set aside for it, most frequent first."""
        return reasons(self.set_aside)


def reasons(aside: Iterable[SetAside]) -> dict[str, int]:
    """Reason -> how many rows were set aside for it, most frequent first."""
    return dict(Counter(one.reason for one in aside).most_common())


def refused(one: SetAside) -> DataError:
    """The error for a row that would be set aside where none may be."""
    return DataError(
        f"{one.where}: {REASONS[one.reason]} ({one.reason})",
        field=one.where,
        got=one.detail,
        hint="without --strict such rows are set aside and counted",
    )


def set_aside_long(
    rows: Sequence[Row], lengths: Sequence[int], context: int
) -> tuple[tuple[Row, ...], tuple[SetAside, ...]]:
    """Part the rows that fit in `context` tokens from those that do not.

    `lengths` holds each row's tokens, prompt and completion and end token together.
    """
    kept, aside = [], []
    for row, length in zip(rows, lengths, strict=True):
        if length <= context:
            kept.append(row)
        else:
            aside.append(too_long(row, length, context))
    return tuple(kept), tuple(aside)


def unanswered(row: Row) -> SetAside:
    """A row that is not `answered`, where a prompt with its answer is needed."""
    what = "plain text" if row.text is not None else "no completion in it"
    return SetAside(row.where, "no-answer", what)


def too_long(row: Row, length: int, context: int) -> SetAside:
    """A row of `length` tokens where `context` is the most."""
    return SetAside(row.where, "too-long", f"{length} tokens, the context holds {context}")
