"""What goes wrong, in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`.

A client learns which of its fields is at fault and what is expected. It never learns a path, a
prompt, an address or the text of an internal error.
"""

from __future__ import annotations

import sys
from typing import Any

from starlette.responses import JSONResponse

from tutelage.errors import DataError, MemoryLimitError, RequestError, SourceError


class Fault(Exception):
    """An answer with an error status; raised anywhere below a route."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        authenticate: str = "Bearer",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        self.authenticate = authenticate

    def as_json(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = self.authenticate
        return JSONResponse(self.as_json(), status_code=self.status, headers=headers)


def too_busy() -> Fault:
    return Fault(
        503, "the server is busy: too many requests wait", code="server_busy", retry_after=1
    )


def too_many(limit: int) -> Fault:
    return Fault(
        429, f"this key has {limit} requests under way: wait for one", code="rate_limit_exceeded",
        retry_after=1,
    )  # fmt: skip


def shutting_down() -> Fault:
    return Fault(503, "the server is shutting down", code="server_shutdown", retry_after=5)


def from_exception(error: BaseException) -> Fault:
    """The fault a client is told about `error`; what it is not told goes to stderr, without text
    that could hold a prompt."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, RequestError) and not isinstance(error, SourceError | DataError):
        # A field may also be a file or a place among prompts: only a parameter's name is told.
        param = error.field if (error.field or "").isidentifier() else None
        return Fault(400, error.message, param=param, code="invalid_request")
    print(f"serve: {type(error).__name__} while answering", file=sys.stderr, flush=True)
    if isinstance(error, MemoryLimitError):
        if error.hint is not None:  # figures and flags, for who runs the server
            print(f"serve: {error.hint}", file=sys.stderr, flush=True)
        return Fault(503, "not enough memory for this request", code="out_of_memory")
    return Fault(500, "the model could not answer", code="internal_error")
