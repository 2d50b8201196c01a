"""Words with tags in the columns of CoNLL's shared tasks: a word a line, blank lines between texts.

    Empire B-location
    State  I-location

The first column is the word, the last its tag. Lines of `-DOCSTART-` and of comments (`# `) are no
words. Tjong Kim Sang and De Meulder 2003, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record

START = "-DOCSTART-"


def read_conll(stream: BinaryIO, path: str, name: str) -> Iterator[Record | SetAside]:
    """One record a text, named by its first line; one with a line of a single column is set
    aside."""
    tokens: list[str] = []
    tags: list[str] = []
    first, fault = 0, ""
    for number, raw in enumerate([*stream, b"\n"], 1):
        line = raw.decode("utf-8-sig", errors="replace").rstrip("\r\n")
        cells = [cell for cell in (line.split("\t") if "\t" in line else line.split()) if cell]
        if line.startswith(START) or (line.startswith("# ") and not tokens):
            continue
        if cells and "".join(cells).strip():
            first = first or number
            tokens.append(cells[0].strip())
            tags.append(cells[-1].strip())
            if len(cells) < 2 and not fault:
                fault = f"line {number} has one column"
            continue
        if first:
            if fault:
                yield SetAside(f"{path}:{first}", "wrong-columns", fault)
            else:
                value = {"tokens": tokens, "tags": tags}
                yield Record(f"{path}:{first}", f"{name}:{first}", value)
        tokens, tags, first, fault = [], [], 0, ""
