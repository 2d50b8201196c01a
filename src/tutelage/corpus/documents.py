"""A document: one text with its name, where it came from, and the row that held it.

Any shape of the contract is a document: its text is all the text of the row, and what a step
changes is changed in the row, so that rows of questions and answers stay such rows. Words, lines
and paragraphs are cut once and shared by all filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tutelage.data.near_duplicates import row_text
from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record, row_from

TEXTS = frozenset(
    {"text", "messages", "prompt", "completion", "chosen", "rejected", "completions", "tokens"}
)
"""The fields of a row that hold text a model would learn."""
_PARAGRAPHS = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Document:
    """One text of a corpus. `where` is FILE:LINE for messages; `row` the object that held it."""

    id: str
    text: str
    source: str | None = None
    where: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What stands between white space."""
        return tuple(self.text.split())

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Lines that are not blank, without white space around them."""
        return tuple(line.strip() for line in self.text.splitlines() if line.strip())

    @cached_property
    def paragraphs(self) -> tuple[str, ...]:
        """What stands between blank lines."""
        return tuple(p.strip() for p in _PARAGRAPHS.split(self.text) if p.strip())

    def changed(self, change: Callable[[str], str]) -> Document:
        """This document with every text of its row changed; itself where nothing changed."""
        row = {k: _changed(v, change) if k in TEXTS else v for k, v in self.row.items()}
        if row == self.row:
            return self
        found = row_from(Record(self.where, self.id, row))
        text = "" if isinstance(found, SetAside) else row_text(found)
        return replace(self, text=text, row=row)

    def as_json(self) -> dict[str, Any]:
        """The row, with its id and source: it is read as this document again."""
        found: dict[str, Any] = {"id": self.id, **self.row}
        if self.source is not None:
            found["source"] = self.source
        return found


def document_from(record: Record, field: str | None = None) -> Document | SetAside:
    """The document that a record holds, or why it holds none.

    `field` names the field that holds the text, where the row has none of the contract's shapes;
    it becomes `text`.
    """
    value = record.value
    if field is not None and field != "text" and isinstance(value, dict) and field in value:
        value = {
            "text": value[field],
            **{k: v for k, v in value.items() if k not in (field, "text")},
        }
    row = row_from(Record(record.where, record.id, value))
    if isinstance(row, SetAside):
        return row
    kept = {k: v for k, v in value.items() if k not in ("id", "source")}
    return Document(row.id, row_text(row), row.source, row.where, kept)


def text_document(id: str, text: str, source: str | None = None) -> Document:
    """A document of plain text."""
    return Document(id, text, source, id, {"text": text})


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A text, a list of texts, or turns of which the content is text."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(one, change) for one in value]
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        return {**value, "content": change(value["content"])}
    return value
