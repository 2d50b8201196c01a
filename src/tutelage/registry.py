"""A registry is a folder: file name = entry name, imported on demand.

    METRICS = Registry("tutelage.score", "metric", "METRIC")
    METRICS.names()          # from the folder, nothing imported
    METRICS.get("rougeL")    # imports tutelage.score.rougeL, returns its METRIC

Adding an entry is adding a file; no central list is edited. Files whose name starts with an
underscore, and those listed in `parts`, are machinery of the folder and not entries.
"""

from __future__ import annotations

import importlib
import importlib.resources
from types import ModuleType
from typing import Any

from tutelage.errors import UnknownName


class Registry:
    """Entries of one kind, one file each, in one package folder.

    Names are written with hyphens on the command line and underscores in file names; with
    `hyphens=False` the file's name is the entry's name as it stands.
    """

    def __init__(
        self,
        package: str,
        kind: str,
        attribute: str,
        parts: tuple[str, ...] = (),
        hyphens: bool = True,
    ) -> None:
        self.package = package
        self.kind = kind
        self.attribute = attribute
        self._parts = frozenset(parts)
        self._hyphens = hyphens
        self._found: dict[str, Any] = {}

    def names(self) -> list[str]:
        """All entry names, sorted; reads the folder and imports nothing of it."""
        folder = importlib.resources.files(self.package)
        stems = (f.name[:-3] for f in folder.iterdir() if f.name.endswith(".py"))
        return sorted(
            stem.replace("_", "-") if self._hyphens else stem
            for stem in stems
            if not stem.startswith("_") and stem not in self._parts
        )

    def get(self, name: str, field: str | None = None) -> Any:
        """The entry's object. Raises UnknownName with a suggestion."""
        if name not in self._found:  # a model's architecture is looked up a hundred times a run
            if name not in self.names():
                raise UnknownName(self.kind, name, self.names(), field=field)
            self._found[name] = getattr(self._module(name), self.attribute)
        return self._found[name]

    def summary(self, name: str) -> str:
        """What the first line of the entry's file says it is. Raises UnknownName."""
        self.get(name)
        text = " ".join((self._module(name).__doc__ or "").split())
        return text.partition(". ")[0].removesuffix(".")

    def _module(self, name: str) -> ModuleType:
        stem = name.replace("-", "_") if self._hyphens else name
        return importlib.import_module(f"{self.package}.{stem}")
