"""Web archives: which records are documents, and that a cut archive is never taken for a whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tutelage.corpus.documents import Document
from tutelage.corpus.sources import open_source
from tutelage.data.rows import SetAside
from tutelage.errors import DataError

pytest.importorskip("fastwarc")
PAGE = b"""<html><head><title>T</title><script>var x = 1;</script></head><body>
<nav>Home About</nav><article><p>The main paragraph of this page, which is long enough.</p>
<p>Another paragraph follows with more words.</p></article>
<footer>Copyright</footer></body></html>"""


def record(kind: str, name: str, body: bytes, http: str | None = None) -> bytes:
    payload = (http.encode() + b"\r\n\r\n" if http else b"") + body
    content = "application/http; msgtype=response" if http else "text/plain"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{name}>\r\n"
        f"WARC-Target-URI: https://example.org/{name}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"Content-Type: {content}\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload + b"\r\n\r\n"


def ok(kind: str = "text/html; charset=utf-8", more: str = "") -> str:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}{more}"


WET = [
    record("warcinfo", "i", b"software: test"),
    record("conversion", "a", "Héllo text.\nSecond line.".encode()),
    record("conversion", "b", b"Two."),
]


def read(path: Path) -> list[Document | SetAside]:
    return list(open_source(str(path)))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.wet", "a.warc.wet.gz"])
def test_wet_records_are_documents(name: str, tmp_path: Path) -> None:
    packed = b"".join(map(gzip.compress, WET)) if name.endswith("gz") else b"".join(WET)
    one, two = read(write(tmp_path / name, packed))
    assert isinstance(one, Document) and isinstance(two, Document)
    assert one.text == "Héllo text.\nSecond line." and one.source == "https://example.org/a"
    assert one.as_json()["date"] == "2026-01-01T00:00:00Z" and two.text == "Two."


def test_pages_become_their_main_text_and_the_rest_is_set_aside(tmp_path: Path) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(x), x) for x in (PAGE[:100], PAGE[100:], b""))
    records = [
        record("request", "q", b"GET / HTTP/1.1\r\n\r\n"),
        record("response", "page", PAGE, ok()),
        record("response", "chunked", chunks, ok(more="\r\nTransfer-Encoding: chunked")),
        record("response", "zipped", gzip.compress(PAGE), ok(more="\r\nContent-Encoding: gzip")),
        record(
            "response", "latin", "<p>Grüße</p>".encode("latin-1"), ok("text/html; charset=latin1")
        ),
        record("response", "image", b"\x89PNG", ok("image/png")),
        record("response", "gone", PAGE, "HTTP/1.1 404 Not Found\r\nContent-Type: text/html"),
    ]
    *pages, latin, image, gone = read(write(tmp_path / "a.warc", b"".join(records)))
    for page in pages:
        assert isinstance(page, Document)
        assert page.text.startswith("The main paragraph") and "var x" not in page.text
        assert "Copyright" not in page.text and "Home" not in page.text
    assert len(pages) == 3 and isinstance(latin, Document) and latin.text == "Grüße"
    assert isinstance(image, SetAside) and image.reason == "not-text" and "png" in image.detail
    assert isinstance(gone, SetAside) and "404" in gone.detail


def test_a_cut_archive_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = b"".join(WET)
    inside = len(whole) - len(WET[-1])
    # Inside the last record's first line, its headers and its text; its last line breaks may miss.
    for cut in (inside + 12, inside + 60, inside + 120, len(whole) - 5, inside - 20):
        with pytest.raises(DataError) as caught:
            read(write(tmp_path / "a.wet", whole[:cut]))
        assert "a.wet" in str(caught.value.field), cut


@pytest.mark.parametrize("data", [b"no archive\n" * 50, b""])
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(write(tmp_path / "a.warc", data))
