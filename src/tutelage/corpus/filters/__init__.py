"""Filters, one file a family of rules: the entry is a schema of thresholds that can judge.

    class Length(Frozen):
        min_words: int = 50
        def judge(self, document: Document) -> str | None: ...   # the reason against it, or None

    FILTER = Length

A filter is a pure function of the document and its thresholds, whose source each file names. One
that also takes something away before it judges has `clean(text) -> text`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.config import validate
from tutelage.corpus.documents import Document
from tutelage.errors import ConfigError
from tutelage.registry import Registry

FILTERS = Registry("tutelage.corpus.filters", "filter", "FILTER")

GOPHER = ("length", "symbols", "words", "repetition")
"""The rules of the Gopher paper, which need no library."""
PRESETS: Mapping[str, tuple[str, ...]] = {
    "gopher": GOPHER,
    "web": ("c4", *GOPHER, "fineweb"),
    "none": (),
}


@dataclass(frozen=True)
class FilterStep:
    """A filter as a step of a pipeline."""

    name: str
    rule: Any

    def __call__(self, document: Document) -> Document | str:
        clean = getattr(self.rule, "clean", None)
        if clean is not None:
            document = document.changed(clean)
        return self.rule.judge(document) or document


def filter_steps(
    names: Sequence[str], settings: Mapping[str, Mapping[str, Any]]
) -> list[FilterStep]:
    """The filters of these names in this order; `settings` change their thresholds.

    Raises UnknownName for a filter there is not, ConfigError for a wrong threshold or for settings
    of a filter that is not asked for.
    """
    unused = [name for name in settings if name not in names]
    if unused:
        FILTERS.get(unused[0], field="--set")
        raise ConfigError(
            f"the filter {unused[0]!r} is set but not used",
            field="--set",
            expected="one of " + ", ".join(names),
            hint=f"add --use {unused[0]}",
        )
    return [FilterStep(name, _rule(name, settings.get(name, {}))) for name in names]


def _rule(name: str, settings: Mapping[str, Any]) -> Any:
    try:
        return validate(FILTERS.get(name, field="--use"), settings, where=name)
    except ConfigError as error:
        way = f"set it with --set {name}.KEY=VALUE"
        error.hint = way if error.hint is None else f"{error.hint.rstrip('.')}; {way}"
        raise


def parse_settings(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`length.min_words=20` -> {"length": {"min_words": 20}}; a bare word is a text."""
    found: dict[str, dict[str, Any]] = {}
    for one in given:
        path, equals, text = one.partition("=")
        name, dot, key = path.strip().partition(".")
        if not (equals and dot and name and key):
            raise ConfigError(
                f"{one!r} sets nothing", field="--set", got=one, expected="FILTER.KEY=VALUE"
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        found.setdefault(name, {})[key] = value
    return found
