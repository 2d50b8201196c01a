"""Files of every format become rows; damaged lines are set aside with file and line, damaged files
refused; nothing is lost on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage.data import csv_records, json_records
from tutelage.data.load import load
from tutelage.errors import ConfigError, DataError, UnknownName

GOOD = b'{"prompt": "p", "completion": "c"}'


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], str]:
    def write(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return write


Write = Callable[[str, bytes], str]

BAD_LINES = [
    (b'{"prompt": "p", "completion": "c"', "bad-json"),
    (b'{"prompt": "p", "completion": "c"} trailing', "bad-json"),
    (b"{'prompt': 'p'}", "bad-json"),
    (b'{"prompt": "p", "completion": "c", "weight": NaN}', "bad-json"),
    (b'{"prompt": "p", "completion": "c", "weight": -Infinity}', "bad-json"),
    (b'{"prompt": "p", "prompt": "q", "completion": "c"}', "bad-json"),
    (b'{"prompt": "p\tq", "completion": "c"}', "bad-json"),
    (b'{"prompt": "p\x00", "completion": "c"}', "bad-json"),
    (b'{"prompt": "p", "completion": "c", "n": ' + b"1" * 5000 + b"}", "bad-json"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "bad-json"),
    (b"prompt,completion", "bad-json"),
    (b'{"prompt": "\xff", "completion": "c"}', "bad-utf8"),
    (b'{"prompt": "\xc0\xaf", "completion": "c"}', "bad-utf8"),
    (b'{"prompt": "\xed\xa0\x80", "completion": "c"}', "bad-utf8"),
    (b'{"prompt": "p\xe2\x82", "completion": "c"}', "bad-utf8"),
    (b'{"prompt": "\\u0000", "completion": "c"}', "nul-or-surrogate"),
    (b'{"prompt": "\\ud83d", "completion": "c"}', "nul-or-surrogate"),
    (b'["prompt", "completion"]', "wrong-type"),
    (b"null", "wrong-type"),
    (b"3", "wrong-type"),
    (b'{"prompt": 1, "completion": "c"}', "wrong-type"),
    (b'{"prompt": {}, "completion": "c"}', "wrong-type"),
    (b'{"prompt": "p", "completion": "c", "weight": "heavy"}', "wrong-type"),
    (b'{"prompt": "p"}', "missing-key"),
    (b'{"messages": [{"content": "x"}]}', "missing-key"),
    (b'{"question": "p", "answer": "c"}', "unknown-shape"),
    (b'{"prompt": "", "completion": "c"}', "empty-prompt"),
    (b'{"prompt": "p", "completion": " "}', "empty-completion"),
    (b'{"text": ""}', "empty-text"),
    (b'{"prompt": "p", "completion": "c", "id": "one"}', "duplicate-id"),
    (b'{"prompt": "p", "completion": "c", "x": "' + b"x" * 3000 + b'"}', "line-too-long"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_one_bad_line_is_set_aside_and_the_rest_kept(
    write: Write, line: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 2500 if reason == "line-too-long" else 2**24
    monkeypatch.setattr(json_records, "MAX_LINE_BYTES", limit)
    first = b'{"prompt": "p", "completion": "first", "id": "one"}'
    path = write("a.jsonl", first + b"\n\n" + line + b"\n" + GOOD + b"\n")
    loaded = load(path)
    assert [row.completion for row in loaded.rows] == ["first", "c"]
    assert loaded.rows[1].where == f"{path}:4"
    assert [(one.where, one.reason) for one in loaded.set_aside] == [(f"{path}:3", reason)]
    assert loaded.set_aside[0].detail
    assert loaded.total == 3
    with pytest.raises(DataError) as caught:
        load(path, strict=True)
    assert caught.value.field == f"{path}:3"
    assert reason in caught.value.message


def test_all_bad_lines_at_once_add_up_and_good_rows_keep_their_order(write: Write) -> None:
    lines, good = [], []
    for n, (line, reason) in enumerate(BAD_LINES):
        if reason in ("line-too-long", "duplicate-id"):
            continue
        lines += [line, json.dumps({"prompt": "p", "completion": f"good {n}"}).encode()]
        good.append(f"good {n}")
    loaded = load(write("a.jsonl", b"\n".join(lines)))
    assert [row.completion for row in loaded.rows] == good
    assert loaded.total == len(lines) == len(loaded.rows) + sum(loaded.reasons().values())


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\n \n", "holds no rows"),
        ("a.json", b"", "holds no rows"),
        ("a.json", b"[]", "holds no rows"),
        ("a.json", b"[{}", "does not end"),
        ("a.json", b'[{"text": "a"}]]', "does not end"),
        ("a.json", b'[{"text": "a"},]', "a.json:1"),
        ("a.json", b'[{"text": "a"},\n{"text": }]', "a.json:2"),
        ("a.json", b'[{"text": "\xff"}]', "not UTF-8"),
        ("a.json", b'{\n "data": []}', "neither a list"),
        ("a.json", b"[" * 100_000, "a.json:1"),
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"text,label\n", "holds no rows"),
        ("a.csv", b"text,text\na,b\n", "one twice"),
        ("a.csv", b"text,\na,b\n", "names no column"),
        ("a.csv", b'te"xt\xff,"label\n', "header cannot be read"),
        ("a.csv", b"te\xffxt,label\na,b\n", "names no column"),
        ("a.txt", b"", "no usable row"),
        ("a.parquet", b"PAR1 no parquet", "not a readable Parquet"),
        ("a.parquet", b"", "not a readable Parquet"),
        ("a.jsonl.gz", GOOD, "damaged"),
        ("a.jsonl.gz", gzip.compress(GOOD * 1000, mtime=0)[:-9], "damaged"),
        ("a.jsonl.gz", gzip.compress(GOOD, mtime=0)[:-4] + b"1234", "damaged"),
        ("a.jsonl.gz", gzip.compress(GOOD, mtime=0)[:15] + b"\xff" * 30, "damaged"),
        ("a.jsonl", GOOD.decode().encode("utf-16"), "UTF-16"),
        ("a.jsonl", b'{"question": "q"}\n', "no usable row"),
        ("a.xml", b"<rows/>", "no known format"),
        ("plain", GOOD, "no known format"),
        ("a.parquet.gz", b"", "no known format"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    write: Write, name: str, data: bytes, says: str
) -> None:
    path = write(name, data)
    with pytest.raises(DataError) as caught:
        load(path)
    assert says in caught.value.message
    assert caught.value.field is not None and caught.value.field.startswith(path)
    assert caught.value.exit_code == 2


def test_missing_empty_and_unreadable_places_are_refused(tmp_path: Path, write: Write) -> None:
    for source in (str(tmp_path / "none.jsonl"), "", "a\0b.jsonl", write("f", b"x") + "/a.jsonl"):
        with pytest.raises(DataError):
            load(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data file"):
        load(str(tmp_path / "empty"))


def test_a_file_the_system_refuses_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.jsonl", GOOD)

    def refuse(self: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="Permission denied") as caught:
        load(path)
    assert caught.value.field == path


def test_rows_without_an_answer_are_set_aside_where_one_is_needed(write: Write) -> None:
    text = b'{"text": "no answer", "id": "one"}'
    asked = b'{"prompt": "p", "completion": "c", "id": "one"}'
    tagged = b'{"tokens": ["a"], "tags": ["b"]}'
    path = write("a.jsonl", b"\n".join([text, asked, tagged]))
    assert [one.reason for one in load(path).set_aside] == ["duplicate-id"]
    found = load(path, answered=True)
    assert [(one.where, one.reason) for one in found.set_aside] == [(f"{path}:1", "no-answer")]
    assert [row.id for row in found.rows] == ["one", "a.jsonl:3"]
    with pytest.raises(DataError, match=r"a\.jsonl:1.*no-answer"):
        load(path, answered=True, strict=True)


def test_a_source_without_a_usable_row_shows_the_counts_and_the_first(write: Write) -> None:
    path = write("a.jsonl", b'{"question": "q"}\n{"prompt": "", "completion": "x"}\n{"q": 1}\n')
    with pytest.raises(DataError) as caught:
        load(path)
    assert caught.value.got == "3 rows, set aside: 2 unknown-shape, 1 empty-prompt"
    assert f"{path}:1" in (caught.value.hint or "") and "template" in (caught.value.hint or "")


def test_jsonl_with_a_byte_order_mark_and_other_line_ends(write: Write) -> None:
    line = '{"prompt": "é \u2028", "completion": "c\x85"}'.encode()
    loaded = load(write("a.jsonl", b"\xef\xbb\xbf" + line + b"\r\n" + line))
    assert [row.id for row in loaded.rows] == ["a.jsonl:1", "a.jsonl:2"]
    assert loaded.rows[0].messages[0].content == "é \u2028"


def test_json_lists_know_the_line_of_each_row(write: Write) -> None:
    data = b'\n[\n {"text": "a"},\n {"text":\n  ""}, 3 , {"text": "b"}\n]\n'
    path = write("a.json", data)
    loaded = load(path)
    assert [(row.where, row.text) for row in loaded.rows] == [
        (f"{path}:3", "a"),
        (f"{path}:5", "b"),
    ]
    assert [(one.where, one.reason) for one in loaded.set_aside] == [
        (f"{path}:4", "empty-text"),
        (f"{path}:5", "wrong-type"),
    ]


def test_json_lines_under_the_name_json_are_read(write: Write) -> None:
    loaded = load(write("a.json", GOOD + b"\nbroken\n" + GOOD))
    assert loaded.reasons() == {"bad-json": 1} and len(loaded.rows) == 2


def test_csv_lines_count_quoted_newlines(write: Write) -> None:
    data = (
        b"\xef\xbb\xbftext,label,id,weight\r\n"
        b'"one\r\ntwo",a,,\r\n'
        b"\r\n"
        b"three,b,x,2.5\r\n"
        b"too,many,cells,1,2\r\n"
        b"few\r\n"
        b'"bad"quote,a,,\r\n'
        b"b\xffd,a,,\r\n"
        b"n\x00l,a,,\r\n"
        b"heavy,a,,much\r\n"
        b"four,a,,\r\n"
        b'"never closed,a,,\r\nfive,a,,\r\n'
    )
    path = write("a.csv", data)
    loaded = load(path)
    assert [(row.messages[0].content, row.where, row.id, row.weight) for row in loaded.rows] == [
        ("one\r\ntwo", f"{path}:2", "a.csv:2", 1.0),
        ("three", f"{path}:5", "x", 2.5),
        ("four", f"{path}:12", "a.csv:12", 1.0),
    ]
    assert [(one.where.rsplit(":", 1)[1], one.reason) for one in loaded.set_aside] == [
        ("6", "wrong-columns"),
        ("7", "wrong-columns"),
        ("8", "bad-csv"),
        ("9", "bad-utf8"),
        ("10", "nul-or-surrogate"),
        ("11", "wrong-type"),
        ("13", "bad-csv"),
    ]
    assert loaded.total == 10


def test_a_csv_cell_beyond_the_limit_is_set_aside(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "MAX_CELL_CHARACTERS", 100)
    loaded = load(write("a.csv", b"text\n" + b"x" * 101 + b"\nshort\n"))
    assert loaded.reasons() == {"bad-csv": 1} and loaded.rows[0].text == "short"


def test_csv_cells_longer_than_the_modules_default_are_read(write: Write) -> None:
    loaded = load(write("a.csv", b"text\n" + b"x" * 200_000 + b"\n"))
    assert len(loaded.rows[0].text or "") == 200_000


def test_csv_columns_reach_the_templates(write: Write) -> None:
    path = write("a.csv", b"dialogue,Summary\nHi there,greeting\n,nothing\n")
    loaded = load(path, prompt="Summarize: {dialogue}", completion="{Summary}")
    assert [(row.messages[0].content, row.completion) for row in loaded.rows] == [
        ("Summarize: Hi there", "greeting"),
        ("Summarize: ", "nothing"),
    ]
    with pytest.raises(ConfigError) as caught:
        load(path, prompt="Summarize: {dialog}", completion="{Summary}")
    assert caught.value.hint == "did you mean 'dialogue'?"


def test_a_field_that_only_some_rows_have_sets_the_others_aside(write: Write) -> None:
    path = write("a.jsonl", b'{"a": "x", "b": "y"}\n{"b": "y"}\n')
    loaded = load(path, prompt="{a}", completion="{b}")
    assert loaded.reasons() == {"missing-key": 1}


def test_parquet_rows(write: Write, tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": n % 2, "weight": 0.5} for n in range(3000)]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=700)
    loaded = load(str(path))
    assert [row.messages[0].content for row in loaded.rows] == [f"t{n}" for n in range(3000)]
    assert (loaded.rows[2999].where, loaded.rows[2999].label) == (f"{path}:3000", "1")


def test_parquet_texts_that_are_not_utf8_are_set_aside(tmp_path: Path) -> None:
    column = pyarrow.array([b"good", b"b\xffd", b"fine"]).view(pyarrow.string())
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), path)
    loaded = load(str(path))
    assert [row.text for row in loaded.rows] == ["good", "fine"]
    assert [(one.where, one.reason) for one in loaded.set_aside] == [(f"{path}:2", "bad-utf8")]


def test_truncated_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a" * 100] * 50}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable Parquet"):
        load(str(path))


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), path)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError) as caught:
        load(str(path))
    assert "tutelage[data]" in (caught.value.hint or "")


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path, write: Write) -> None:
    write("d/b.jsonl", b'{"text": "b", "id": "1"}')
    write("d/a/c.txt", "one\n\ntwo é".encode())
    write("d/a/z.csv.gz", gzip.compress(b"text,id\nz,2\nagain,1\n"))
    write("d/a/bad.txt", b"ok\n\xff")
    write("d/.hidden/x.jsonl", b"broken")
    write("d/README.md", b"# about")
    loaded = load(str(tmp_path / "d"))
    assert [row.text for row in loaded.rows] == ["one\n\ntwo é", "z", "again"]
    assert [row.source for row in loaded.rows] == ["a/c.txt", None, None]
    assert [(one.where, one.reason) for one in loaded.set_aside] == [
        (str(tmp_path / "d/a/bad.txt:2"), "bad-utf8"),
        (str(tmp_path / "d/b.jsonl:1"), "duplicate-id"),
    ]
    assert loaded.notes == (f"1 files of other kinds in {tmp_path / 'd'} were not read: README.md",)


def test_an_id_is_not_taken_by_a_row_that_was_set_aside(write: Write) -> None:
    lines = [b'{"text": "", "id": "1"}', b'{"text": "a", "id": "1"}', b'{"text": "b", "id": 1}']
    loaded = load(write("a.jsonl", b"\n".join(lines)))
    assert [row.text for row in loaded.rows] == ["a"]
    assert loaded.reasons() == {"empty-text": 1, "duplicate-id": 1}
    assert "a.jsonl:2" in loaded.set_aside[1].detail


def test_unknown_built_in_sets_get_a_suggestion() -> None:
    with pytest.raises(UnknownName) as caught:
        load("builtin:stdlib-docstring")
    assert caught.value.hint == "did you mean 'stdlib-docstrings'?"


TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40
).filter(str.strip)
NAMES = {"id": TEXT, "source": TEXT, "weight": st.floats(0.1, 9)}
ROWS = st.one_of(
    st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT}, optional=NAMES),
    st.fixed_dictionaries({"text": TEXT, "label": TEXT}, optional=NAMES),
    st.fixed_dictionaries({"text": TEXT}, optional=NAMES),
    st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}, optional=NAMES),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=8), st.booleans())
def test_jsonl_round_trip(tmp_path: Path, rows: list[dict[str, Any]], ascii_only: bool) -> None:
    """Rows written as JSON lines and read again are the same rows, duplicates of ids aside."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    loaded = load(str(path))
    assert loaded.total == len(rows)
    assert set(loaded.reasons()) <= {"duplicate-id"}
    path.write_text("\n".join(json.dumps(row.as_json()) for row in loaded.rows), encoding="utf-8")
    again = load(str(path))
    assert [row.as_json() for row in again.rows] == [row.as_json() for row in loaded.rows]
    texts = {row.get("text", row.get("prompt")) for row in rows}
    assert {row.text or row.messages[0].content for row in loaded.rows} <= texts
