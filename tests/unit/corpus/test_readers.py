"""Every format gives the same documents, as a stream, and what cannot be read is counted."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from tests.unit.corpus.documents import prose
from tutelage.corpus.documents import Document
from tutelage.corpus.readers import text as text_reader
from tutelage.corpus.sources import open_source
from tutelage.data.rows import SetAside
from tutelage.errors import DataError, UnknownName

TEXTS = ["First text, with an é.", "Second\nof two lines.", "Third."]


def read(name: object, **options: str) -> list[Document | SetAside]:
    return list(open_source(str(name), **options))  # type: ignore[arg-type]


def texts(found: list[Document | SetAside]) -> list[str]:
    assert all(isinstance(one, Document) for one in found)
    return [one.text for one in found if isinstance(one, Document)]


def write(path: Path) -> Path:
    """TEXTS in the format of the path's suffix."""
    rows = [{"text": text} for text in TEXTS]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        path.write_text("text\n" + "\n".join(f'"{text}"' for text in TEXTS))
    elif path.suffix == ".parquet":
        table = pytest.importorskip("pyarrow").Table.from_pylist(rows)
        pytest.importorskip("pyarrow.parquet").write_table(table, path)
    else:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz"])
def test_every_format_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / name)))
    assert texts(list(source)) == TEXTS
    assert texts(list(source)) == TEXTS, "a source can be read again"


def test_a_folder_is_read_in_order_and_its_own_reports_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl")
    (tmp_path / "a.txt").write_text("Before.")
    for name in ("manifest.json", "funnel.json", "b.jsonl.funnel.json", "notes.md"):
        (tmp_path / name).write_text("{}")
    source = open_source(str(tmp_path))
    assert texts(list(source)) == ["Before.", *TEXTS]
    assert source.notes == (f"1 files of other kinds in {tmp_path} were not read: notes.md",)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", ["One.\nTwo.\n\nThree.\n"]),
        ("paragraph", ["One.\nTwo.\n", "Three.\n"]),
        ("line", ["One.\n", "Two.\n", "Three.\n"]),
    ],
)
def test_units_of_plain_text(unit: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\nTwo.\n\nThree.\n")
    found = read(tmp_path / "a.txt", unit=unit)
    assert texts(found) == expected
    assert {one.source for one in found if isinstance(one, Document)} == {"a.txt"}


def test_sections_are_whole_lines_with_what_is_between(tmp_path: Path) -> None:
    lines = [prose(n, 40) + "\n" * (1 + n % 2) for n in range(200)]
    (tmp_path / "a.txt").write_text("".join(lines))
    found = texts(read(tmp_path / "a.txt", unit="section"))
    assert "".join(found) == "".join(lines) and len(found) > 2
    for one in found[:-1]:
        size, last = len(one.encode()), one.rstrip().splitlines()[-1]
        assert one.endswith("\n") and size >= text_reader.SECTION_BYTES > size - len(last) - 2


def test_a_long_file_is_cut_at_lines_and_never_inside_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_reader, "MOST_BYTES", 64)
    lines = [prose(n, 8) for n in range(10)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    found = read(tmp_path / "lines.txt")
    assert len(found) > 3 and "".join(texts(found)) == "\n".join(lines)
    assert [one.id for one in found[:2] if isinstance(one, Document)] == [
        "lines.txt",
        "lines.txt#2",
    ]
    for width in ("é", "€", "😀"):
        (tmp_path / "one.txt").write_text("x" + width * 200)
        assert "".join(texts(read(tmp_path / "one.txt"))) == "x" + width * 200


def test_a_field_of_another_name_becomes_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"content": "Hello.", "url": "u", "id": 7}))
    (found,) = read(file, field="content")
    assert isinstance(found, Document)
    assert found.as_json() == {"id": "7", "text": "Hello.", "url": "u"}
    (aside,) = read(file)
    assert isinstance(aside, SetAside) and aside.reason == "unknown-shape"


def test_rows_of_questions_and_answers_stay_such_rows(tmp_path: Path) -> None:
    row = {"id": "a", "source": "s", "prompt": "Mail me?", "completion": "No.", "extra": 1}
    chat = {
        "messages": [{"role": "user", "content": "Me?"}, {"role": "assistant", "content": "Me"}]
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(chat))
    one, two = read(tmp_path / "a.jsonl")
    assert isinstance(one, Document) and isinstance(two, Document)
    assert one.text == "Mail me?\nNo." and one.as_json() == row
    changed = one.changed(str.upper)
    assert changed.as_json() == {**row, "prompt": "MAIL ME?", "completion": "NO."}
    assert changed.text == "MAIL ME?\nNO." and one.changed(str.strip) is one
    assert two.changed(str.upper).row["messages"][0] == {"role": "user", "content": "ME?"}


def test_what_is_wrong_is_set_aside_or_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "Good."}\nnot JSON\n{"text": "  "}\n')
    kinds = [one.reason if isinstance(one, SetAside) else "" for one in read(tmp_path / "a.jsonl")]
    assert kinds == ["", "bad-json", "empty-text"]
    (tmp_path / "b.txt").write_bytes(b"fine\n\xff\n")
    (aside,) = read(tmp_path / "b.txt")
    assert isinstance(aside, SetAside) and aside.reason == "bad-utf8"
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "x"}\n' * 99)[:-9])
    with pytest.raises(DataError) as damaged:
        read(tmp_path / "c.jsonl.gz")
    assert damaged.value.field == str(tmp_path / "c.jsonl.gz")
    with pytest.raises(DataError):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(UnknownName):
        read("builtin:stdlib-dox")


def test_builtin_sets_are_sources() -> None:
    source = open_source("builtin:stdlib-docs")
    assert len(texts(list(source))) > 50 and source.notes


def test_identity_changes_with_the_files(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl")
    before = open_source(str(file)).identity()
    assert open_source(str(file)).identity() == before
    os.utime(file, (1, 1))
    assert open_source(str(file)).identity() == before, "a copy is the same corpus"
    file.write_text(file.read_text() + "\n")
    assert open_source(str(file)).identity() != before
