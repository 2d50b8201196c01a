"""From the bytes of a request to a checked schema: sizes, time, strict JSON, unknown keys.

JSON is read strictly: UTF-8, no NaN or Infinity, no key twice, no half of a surrogate pair, no
nesting beyond what Python's reader bears. All of it is the client's fault (400), never ours (500).
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from tutelage.config import validate
from tutelage.errors import ConfigError
from tutelage.serve.faults import Fault

Schema = TypeVar("Schema", bound=BaseModel)

SECONDS_TO_ARRIVE = 30.0


async def read(request: Request, schema: type[Schema], limit: int) -> Schema:
    """The body as `schema`. Raises Fault 408, 413, 415 or 400 naming the field."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Also keeps web pages out: a browser sends this type across origins only when allowed to.
        raise Fault(415, "the body must be sent as application/json", param="Content-Type")
    try:
        async with asyncio.timeout(SECONDS_TO_ARRIVE):
            data = await _bytes(request, limit)
    except TimeoutError:
        raise Fault(408, f"the body took longer than {SECONDS_TO_ARRIVE:.0f} s") from None
    except ClientDisconnect:
        raise Fault(400, "the client went away") from None
    return checked(schema, parse(data))


def parse(data: bytes) -> dict[str, Any]:
    """Strict JSON object. Raises Fault 400."""
    try:
        values = json.loads(
            data.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins
        )
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise Fault(400, "the body is nested too deeply", code="invalid_json") from None
    except UnicodeError:
        raise Fault(400, "the body is not valid Unicode text", code="invalid_json") from None
    except json.JSONDecodeError as error:
        raise Fault(
            400, f"the body is not JSON: {error.msg} at character {error.pos}", code="invalid_json"
        ) from None
    except ValueError as error:
        raise Fault(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise Fault(400, "the body must be a JSON object", code="invalid_json")
    return values


def checked(schema: type[Schema], values: dict[str, Any]) -> Schema:
    """`values` as `schema`. Raises Fault 400 naming the field, without showing its value."""
    try:
        return validate(schema, values)
    except ConfigError as error:
        unknown = error.message.startswith("unknown key")
        field = error.field or ""
        param = _without_types(field)
        message = error.message.replace(field, param).removeprefix(": ")
        raise Fault(
            400,
            message if error.hint is None else f"{message}; {error.hint}",
            param=param or None,
            code="unknown_parameter" if unknown else "invalid_value",
        ) from None


async def _bytes(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _without_types(path: str) -> str:
    """`stop` of `stop.constrained-str`: a field's path without the union's alternatives."""
    parts = path.split(".")
    return ".".join(p for p in parts if p.isdigit() or (p.isidentifier() and p != "str"))


def _too_large(limit: int) -> Fault:
    return Fault(413, f"the body is larger than {limit} bytes", code="body_too_large")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values
