"""Crawls of the web: WARC (pages as they were sent) and WET (their text).

Of a WET file each conversion record is a document. Of a WARC file each HTML page that was answered
with success is one: its main text, without menus and footers, as resiliparse extracts it. A page's
address is its source. Requests, metadata and the crawl's own records are no rows; what was answered
in another format is set aside. Needs the `corpus` extra.

fastwarc ends without a word where an archive is cut short, so the length of every record is checked
here against what its header says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from tutelage.corpus.extras import needed
from tutelage.corpus.readers import Reader
from tutelage.data.files import Entry
from tutelage.data.rows import SetAside
from tutelage.data.shapes import Record
from tutelage.errors import DataError

MOST_BYTES = 16 * 2**20
"""Of one page."""
PAGES = ("text/html", "application/xhtml+xml")
PIECE = 2**20


def read_warc(stream: BinaryIO, path: str, name: str) -> Iterator[Entry]:
    """The documents of one archive. Raises DataError where it is cut short or no archive."""
    warc = needed("fastwarc.warc", "corpus", "reading web archives")
    wanted = (warc.response, warc.conversion)
    number = 0
    for record in warc.ArchiveIterator(stream, record_types=warc.any_type, parse_http=False):
        number += 1
        where = f"{path}:{number}"
        body = _body(record, where)
        if record.record_type not in wanted:
            continue
        if body is None:
            yield SetAside(where, "line-too-long", f"{record.content_length} bytes")
        else:
            yield _entry(record, body, where, f"{name}:{number}")


def _body(record: Any, where: str) -> bytes | None:
    """The bytes of a record, None where they are too many. Raises DataError if some are missing."""
    said = record.headers.get("Content-Length")
    held, size = [], 0
    while piece := record.reader.read(PIECE):
        size += len(piece)
        if size <= MOST_BYTES:
            held.append(piece)
    if said is None or size != record.content_length:
        raise DataError(
            f"{where} is damaged: the record is cut short",
            field=where,
            got=f"{size} bytes",
            expected="a whole archive" if said is None else f"{record.content_length} bytes",
        )
    return b"".join(held) if size <= MOST_BYTES else None


def _entry(record: Any, body: bytes, where: str, identity: str) -> Entry:
    fields = {
        "source": record.headers.get("WARC-Target-URI"),
        "date": record.headers.get("WARC-Date"),
        "id": record.record_id,
    }
    if record.is_http:
        text = _page(record, body)
        if isinstance(text, _Fault):
            return SetAside(where, "not-text", str(text))
    else:
        text = body.decode("utf-8", "replace")
    kept = {key: value for key, value in fields.items() if value}
    return Record(where, identity, {**kept, "text": text.replace("\0", "")})


class _Fault(str):
    """Why a response is no page of text."""


def _page(record: Any, body: bytes) -> str | _Fault:
    """The main text of a response."""
    record.set_bytes_content(body)
    record.parse_http(auto_decode="all")
    headers = record.http_headers
    kind = str(record.http_content_type or "not said").lower()
    if headers is None or headers.status_code != 200:
        return _Fault(
            f"it was answered with status {headers.status_code if headers else 'unknown'}"
        )
    if kind not in PAGES:
        return _Fault(f"its type is {kind}")
    encoding = needed("resiliparse.parse.encoding", "corpus", "reading web pages")
    extract = needed("resiliparse.extract.html2text", "corpus", "reading web pages")
    page = record.reader.read()
    html = encoding.bytes_to_str(page, record.http_charset or encoding.detect_encoding(page))
    return str(extract.extract_plain_text(html, main_content=True, alt_texts=False))


READER = Reader((".warc", ".wet"), read_warc)
