"""What the routes take and give, as OpenAPI 3.1: for clients and testers that read one.

Made of the very schemas that requests are checked by. Ranges that depend on the model, or on other
fields, are not in it: what is beyond them is answered with 400 all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from tutelage.serve.schema import ChatRequest, CompletionRequest, EmbeddingRequest

REFUSALS = {
    "400": "a field is at fault, named in `param`",
    "401": "a key is missing or wrong",
    "403": "the Host header is no loopback name, and no key is set",
    "404": "no such model or route",
    "405": "the route takes another method",
    "408": "the body took too long to arrive",
    "413": "the body is too large",
    "415": "the body is not sent as application/json",
    "429": "the key has too many requests under way",
    "500": "the model could not answer",
    "503": "too many requests wait, or the server is shutting down",
}
ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
MODEL: dict[str, Any] = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by", "max_model_len"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
        "max_model_len": {"type": ["integer", "null"]},
    },
}


def document(models: Iterable[str]) -> dict[str, Any]:
    """The whole description; `models` are the ids a request may name."""
    names = list(models)
    schemas: dict[str, Any] = {"Error": ERROR, "Model": MODEL}
    one = {"name": "name", "in": "path", "required": True, "schema": {"enum": names}}
    listed = _object("list", {"type": "array", "items": _of("Model")})
    paths = {
        "/health": {"get": _operation("Whether the server lives", {"type": "object"}, ("503",))},
        "/v1/models": {"get": _operation("What is served", listed)},
        "/v1/models/{name}": {
            "get": _operation("One of the models", _of("Model"), ("404",)) | {"parameters": [one]}
        },
        "/v1/chat/completions": _post(
            "Messages through the model's template", ChatRequest, schemas, names, "chat.completion"
        ),
        "/v1/completions": _post(
            "Text continued as it is", CompletionRequest, schemas, names, "text_completion"
        ),
        "/v1/embeddings": _post("Vectors of texts", EmbeddingRequest, schemas, names, "list"),
    }  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tutelage", "version": version("tutelage")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _post(
    summary: str, kind: type[BaseModel], schemas: dict[str, Any], names: list[str], made: str
) -> dict[str, Any]:
    found = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= found.pop("$defs", {})
    found["properties"]["model"] = {"enum": names}
    schemas[kind.__name__] = found
    operation = _operation(summary, _object(made), tuple(REFUSALS))
    body = {"application/json": {"schema": _of(kind.__name__)}}
    if "stream" in found["properties"]:
        operation["responses"]["200"]["content"]["text/event-stream"] = {}
    return {"post": operation | {"requestBody": {"required": True, "content": body}}}


def _operation(summary: str, made: dict[str, Any], more: tuple[str, ...] = ()) -> dict[str, Any]:
    refused = {"application/json": {"schema": _of("Error")}}
    statuses = ("401", "403", *more)
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": made}}},
            **{one: {"description": REFUSALS[one], "content": refused} for one in statuses},
        },
    }


def _object(kind: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """A JSON object that says what it is."""
    properties: dict[str, Any] = {"object": {"const": kind}}
    if data is not None:
        properties["data"] = data
    return {"type": "object", "required": list(properties), "properties": properties}


def _of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
