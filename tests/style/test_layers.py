"""docs/architecture.md is the truth: imports run strictly downward and never in a circle."""

from __future__ import annotations

import graphlib
import importlib
import re
from pathlib import Path

import pytest

from tests.style.sources import PACKAGE, ROOT, files, imports, module, own_imports, tree

GROUND = "errors"
"""A name on the lowest row, which holds files and no folders."""


def rows() -> list[set[str]]:
    """The rows of the page's diagram, from the top; names of folders and of single files."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = page.split("```")[1]
    found = []
    for line in diagram.strip().splitlines():
        names = set(re.findall(r"([a-z_]+)/", line)) | set(re.findall(r"([a-z_]+)\.py", line))
        if line.startswith(f"{GROUND} "):
            # This row names files without their suffix, then says in words what they may use.
            names = {n for n in line.split() if (PACKAGE / f"{n}.py").exists()}
        if names:
            found.append(names)
    return found


ROWS = rows()
RANK = {name: len(ROWS) - row for row, names in enumerate(ROWS) for name in names}
# On the lowest row files may lean on each other, as far as that makes no circle.
GROUND_RANK = RANK[GROUND]
RANK |= {"progress": GROUND_RANK, "lm": GROUND_RANK}
COMPOSERS = {"tutelage", "tutelage.__main__"}


def home(name: str) -> str:
    """Folder, or file of the package's root, that a module belongs to."""
    return name.split(".")[1]


def test_the_page_names_every_folder_and_file() -> None:
    there = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    there |= {p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")}
    assert there - set(RANK) == set(), "missing in docs/architecture.md"
    assert set(RANK) - there == set(), "named in docs/architecture.md and not there"


def test_the_diagram_is_read_as_it_is_drawn() -> None:
    assert ROWS[0] == {"cli"}
    assert {"models", "data", "plan"} <= set().union(*ROWS)
    assert RANK["cli"] > RANK["backends"] > RANK["train"] > RANK["models"] > RANK["errors"]
    assert len(ROWS) >= 10


@pytest.mark.parametrize("path", files(), ids=module)
def test_imports_run_strictly_downward(path: Path) -> None:
    name = module(path)
    if name in COMPOSERS:
        return
    here = home(name)
    for imported in own_imports(path):
        if imported == "tutelage":
            continue  # for its place or version; what it exports is refused below
        there = home(imported)
        if there == here or RANK[here] == RANK[there] == GROUND_RANK:
            continue
        assert RANK[there] < RANK[here], f"{name} imports {imported}, which is not below it"


def test_text_world_does_not_know_what_is_behind_the_seam() -> None:
    for path in files():
        name = module(path)
        if name.startswith(("tutelage.evaluate", "tutelage.serve")):
            behind = [i for i in own_imports(path) if i.startswith("tutelage.backends")]
            assert not behind, f"{name} imports {behind}"


@pytest.mark.parametrize("path", files(), ids=module)
def test_nothing_inside_uses_what_the_package_exports(path: Path) -> None:
    exported = {"tutelage.load", "tutelage.run", "tutelage.tune"}
    assert exported.isdisjoint(imports(tree(path)))


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module(path): own_imports(path, lazy=False) - {module(path)} for path in files()}
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("path", files(), ids=module)
def test_every_module_can_be_imported(path: Path) -> None:
    if module(path) != "tutelage.__main__":
        importlib.import_module(module(path))
