"""Templates over a row's fields: "Summarize: {dialogue}".

Written like `str.format`, but only plain field names stand between the braces: no attributes,
indices, conversions or format specifications, so that data can never reach into objects. `{{` and
`}}` are literal braces. Knows nothing of rows and files.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError, did_you_mean


class MissingField(Exception):
    """This row lacks a field that the template names; the argument is the field."""


class UnprintableField(Exception):
    """The field holds neither text nor a number; the arguments are the field and its type."""


@dataclass(frozen=True)
class Template:
    """A parsed template: literal texts and field names in turn."""

    key: str
    text: str
    parts: tuple[tuple[str, str | None], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.parts if name is not None)

    def fill(self, row: Mapping[str, Any]) -> str:
        """The text for one row. Raises MissingField or UnprintableField."""
        pieces = []
        for literal, name in self.parts:
            pieces.append(literal)
            if name is not None:
                if name not in row:
                    raise MissingField(name)
                pieces.append(printed(row[name], name))
        return "".join(pieces)

    def check(self, known: Iterable[str]) -> None:
        """Raise ConfigError for a field that no row has."""
        known = sorted(known)
        for name in self.fields:
            if name not in known:
                raise ConfigError(
                    f"the {self.key} template names a field that no row has: {name!r}",
                    field=self.key,
                    got=name,
                    expected="one of " + ", ".join(known),
                    hint=did_you_mean(name, known),
                )


def parse(key: str, text: str) -> Template:
    """Parse the template that stands under `key`. Raises ConfigError."""
    try:
        found = list(string.Formatter().parse(text))
    except ValueError as error:
        raise _refused(key, text, str(error)) from None
    parts = []
    for literal, name, specification, conversion in found:
        if name is not None:
            if not name or name.strip() != name or set(name) & set(".[]{}"):
                raise _refused(key, text, f"{{{name}}} is not a plain field name")
            if specification or conversion:
                raise _refused(key, text, f"{{{name}}} has a format or a conversion")
        parts.append((literal, name))
    return Template(key, text, tuple(parts))


def printed(value: Any, name: str) -> str:
    """A field's value as text. Raises UnprintableField for lists, objects and null."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise UnprintableField(name, type(value).__name__)


def _refused(key: str, text: str, why: str) -> ConfigError:
    return ConfigError(
        f"the {key} template cannot be read: {why}",
        field=key,
        got=text,
        expected="text with {field} names of the rows; {{ and }} for literal braces",
    )
