"""The hub's interface for data sets over HTTP, of one folder on this machine."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """`asked` are the paths that were asked for, in order."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.folder, self.asked = name, folder, list[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        name = re.escape(self.server.name)
        if re.fullmatch(rf"/api/datasets/{name}(/revision/[^/]+)?", path):
            return self._json(self._info())
        if re.fullmatch(rf"/api/datasets/{name}/tree/[^/]+(/.*)?", path):
            return self._json(
                [{"type": "file", "oid": "0", "size": f["size"], "path": f["rfilename"]}
                 for f in self._info()["siblings"]]
            )  # fmt: skip
        found = re.fullmatch(rf"/datasets/{name}/resolve/[^/]+/(.*)", path)
        if found and (file := self.server.folder / found[1]).is_file():
            return self._send(file.read_bytes(), body)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _info(self) -> dict[str, Any]:
        files = sorted(p for p in self.server.folder.rglob("*") if p.is_file())
        siblings = [
            {"rfilename": str(p.relative_to(self.server.folder)), "size": p.stat().st_size}
            for p in files
        ]
        return {"id": self.server.name, "sha": COMMIT, "siblings": siblings}

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), True)

    def _send(self, data: bytes, body: bool) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr, which tests read."""


@contextmanager
def serving(name: str, folder: Path) -> Iterator[Hub]:
    """A hub with one data set, OWNER/NAME."""
    hub = Hub(name, folder)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
