"""JSON lines and JSON lists as records.

Strict JSON: no NaN, no Infinity, no key twice in one object. A faulty line is set aside by its
number; a faulty list is refused as a whole, since nothing says where its next element starts.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError

MAX_LINE_BYTES = 16 * 2**20
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_SPACE = re.compile(r"[ \t\r\n]*")


def read_jsonl(stream: BinaryIO, path: str, name: str) -> Iterator[Record | SetAside]:
    for number, line in _lines(stream):
        where = f"{path}:{number}"
        if line is None:
            yield SetAside(where, "line-too-long", f"more than {MAX_LINE_BYTES} bytes")
            continue
        if number == 1:
            _refuse_other_encodings(line, path)
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _record(line, where, f"{name}:{number}")


def read_json(stream: BinaryIO, path: str, name: str) -> Iterator[Record | SetAside]:
    data = stream.read().removeprefix(b"\xef\xbb\xbf")
    _refuse_other_encodings(data, path)
    if data.lstrip()[:1] != b"[":
        yield from _lines_under_another_name(data, path, name)
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _broken(f"{path}:{line}", f"bytes that are not UTF-8: {error.reason}") from None
    for offset_line, value in _elements(text, path):
        yield Record(f"{path}:{offset_line}", f"{name}:{offset_line}", value)


def parse(text: str) -> Any:
    """One strict JSON value. Raises ValueError, for nesting too deep as well."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Lines by number from 1; None for one beyond the limit, which is never held in memory."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield number, None


def _record(line: bytes, where: str, identity: str) -> Record | SetAside:
    try:
        return Record(where, identity, parse(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return SetAside(where, "bad-utf8", f"byte {error.start} of the line: {error.reason}")
    except ValueError as error:
        return SetAside(where, "bad-json", str(error))


def _lines_under_another_name(data: bytes, path: str, name: str) -> Iterator[Record | SetAside]:
    """JSON lines in a `.json` file, told by a first line that is an object by itself."""
    first = data.lstrip().split(b"\n", 1)[0]
    if data.strip() and not isinstance(_record(first, path, name), Record):
        raise _broken(path, "neither a list of objects nor one object a line")
    yield from read_jsonl(io.BytesIO(data), path, name)


def _elements(text: str, path: str) -> Iterator[tuple[int, Any]]:
    """The elements of a JSON list with the line each starts on."""
    line, seen = 1, 0
    position = _skip(text, _skip(text, 0) + 1)
    more = text[position : position + 1] != "]"
    while more:
        line, seen = line + text.count("\n", seen, position), position
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _broken(f"{path}:{line}", str(error) or "nested too deeply") from None
        yield line, value
        position = _skip(text, end)
        more = text[position : position + 1] == ","
        position = _skip(text, position + 1) if more else position
    if text[position:].strip(" \t\r\n") != "]":
        line += text.count("\n", seen, position)
        raise _broken(f"{path}:{line}", "the list does not end with one ']'")


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _refuse_other_encodings(data: bytes, path: str) -> None:
    encoding = _MARKS.get(data[:2])
    if encoding:
        raise DataError(
            f"{path} is {encoding}", field=path, got=encoding, expected="UTF-8",
            hint="save it as UTF-8",
        )  # fmt: skip


def _broken(where: str, why: str) -> DataError:
    return DataError(
        f"{where} is not readable JSON: {why}",
        field=where,
        expected="a list of JSON objects",
        hint="JSON lines (.jsonl) set faulty rows aside one by one",
    )


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
