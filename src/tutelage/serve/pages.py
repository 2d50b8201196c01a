"""The chat page and its assets: files of the package, nothing from elsewhere.

The browser is told to load and to ask nothing but this server. Behind a key it asks its user for
one by itself (the `Basic` scheme: any name, the key as password).
"""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from starlette.responses import Response

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_pages(app: FastAPI) -> None:
    """`/` and `/page/FILE`."""
    for file in resources.files("tutelage.serve").joinpath("page").iterdir():
        suffix = file.name.rpartition(".")[2]
        if suffix in KINDS:
            path = "/" if file.name == "index.html" else f"/page/{file.name}"
            _add(app, path, file.read_bytes(), KINDS[suffix])


def _add(app: FastAPI, path: str, data: bytes, kind: str) -> None:
    async def asset() -> Response:
        return Response(data, media_type=f"{kind}; charset=utf-8", headers=HEADERS)

    app.add_api_route(path, asset, methods=["GET"])
