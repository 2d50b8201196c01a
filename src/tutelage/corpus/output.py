"""Documents as JSON lines: one file, or a folder of files with a manifest. Whole or not at all.

    OUT.jsonl    one file; its funnel stands beside it, OUT.jsonl.funnel.json and .html
    OUT          a folder: documents-00000.jsonl ..., funnel.json, funnel.html, manifest.json

Either is a source of every verb that takes data. The same documents give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.corpus import funnel
from tutelage.corpus.documents import Document
from tutelage.errors import ConfigError

MOST_BYTES = 256 * 2**20
"""Of one file in a folder."""

RESULT, OLD = "result", "old"
Report = Callable[[], dict[str, Any]]


def check_out(out: Path, sources: Sequence[str]) -> None:
    """Raises ConfigError where documents cannot be written to `out`, or would replace what is not
    an earlier answer of ours."""
    if out.suffix not in ("", ".jsonl"):
        raise ConfigError(
            f"documents are not written as {out.suffix}",
            field="--out",
            got=str(out),
            expected="a file NAME.jsonl, or a folder",
        )
    places = [Path(one).resolve() for one in sources if Path(one).exists()]
    if any(place.is_relative_to(out.resolve()) for place in places):
        raise ConfigError(f"{out} is what is read", field="--out", expected="another place")
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not funnel.beside(out).is_file():
        raise ConfigError(
            f"{out} exists and was not written by this command",
            field="--out",
            hint="choose another place, or remove it",
        )
    store.check_place(out)


def write_documents(documents: Iterable[Document], out: Path, report: Report) -> None:
    """Write all documents, then the funnel that `report` gives once they have been read.

    Replaces what is there (see `check_out`). What a killed writer left is in OUT.state, and the
    next one removes it. Raises WorkError if it cannot be written, BusyError if another process
    writes to `out`.
    """
    state = out.with_name(f"{out.name}.state")
    with store.lock(state):
        try:
            store.sweep(state)
            if out.suffix:
                _write_file(documents, out, state, report)
            else:
                _write_folder(documents, out, state, report)
        finally:
            if out.exists() or not (state / OLD).exists():
                shutil.rmtree(state, ignore_errors=True)


def _write_file(documents: Iterable[Document], out: Path, state: Path, report: Report) -> None:
    with store.new_file(state / RESULT) as file:
        for document in documents:
            file.write(_line(document))
    store.move(state / RESULT, out)
    funnel.write(report(), funnel.beside(out))


def _write_folder(documents: Iterable[Document], out: Path, state: Path, report: Report) -> None:
    """What is replaced stands aside until the new folder is in its place."""
    if not out.exists() and (state / OLD).exists():
        store.move(state / OLD, out)
    with store.new_folder(state / RESULT) as inside:
        _write_files(documents, inside)
        funnel.write(report(), inside / funnel.NAME)
    if out.exists():
        shutil.rmtree(state / OLD, ignore_errors=True)
        store.move(out, state / OLD)
    store.move(state / RESULT, out)


def _write_files(documents: Iterable[Document], folder: Path) -> None:
    number, size = 0, 0
    file = (folder / _name(number)).open("wb")
    try:
        for document in documents:
            line = _line(document)
            if size and size + len(line) > MOST_BYTES:
                file.close()
                number, size = number + 1, 0
                file = (folder / _name(number)).open("wb")
            size += file.write(line)
    finally:
        file.close()


def _name(number: int) -> str:
    return f"documents-{number:05}.jsonl"


def _line(document: Document) -> bytes:
    return (store.to_json(document.as_json(), indent=None) + "\n").encode("utf-8")
