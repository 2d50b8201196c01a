"""The routes: models, chat completions, completions, embeddings, health, metrics.

    GET  /                        the chat page; its files under /page/
    GET  /health                  no key needed
    GET  /metrics                 counts, as Prometheus reads them
    GET  /openapi.json            what all of them take and give
    GET  /v1/models, /v1/models/{id}
    POST /v1/chat/completions     messages through the model's chat template
    POST /v1/completions          raw text
    POST /v1/embeddings           vectors of texts, by encoders

The same routes answer without `/v1` too, for clients that are given the bare address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from tutelage.lm import LM, Completion
from tutelage.serve.answers import Answer, Kind, embeddings
from tutelage.serve.body import read
from tutelage.serve.faults import Fault, from_exception, shutting_down
from tutelage.serve.guard import Guard
from tutelage.serve.openapi import document
from tutelage.serve.pages import add_pages
from tutelage.serve.schema import ChatRequest, CompletionRequest, EmbeddingRequest
from tutelage.serve.service import Asked, Limits, Service, choices
from tutelage.serve.stream import cancelled_when_gone, stream
from tutelage.serve.worker import Worker


def build_app(
    models: Mapping[str, LM],
    worker: Worker,
    *,
    key: str | None = None,
    limits: Limits | None = None,
) -> Guard:
    """The ASGI application. Closing the worker is up to the caller."""
    service = Service(models, worker, limits or Limits())
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(Fault, _show_fault)
    app.add_exception_handler(Exception, _show_fault)
    app.add_exception_handler(HTTPException, _show_status)
    app.add_api_route("/health", _health(service), methods=["GET"])
    app.add_api_route("/metrics", _metrics(service), methods=["GET"])
    app.add_api_route("/openapi.json", _described(service), methods=["GET"])
    add_pages(app)
    for prefix in ("/v1", ""):
        _add_routes(app, prefix, service)
    return Guard(app, key, service.limits.per_key, service.metrics)


Endpoint = Callable[..., Awaitable[Response]]


def _add_routes(app: FastAPI, prefix: str, service: Service) -> None:
    async def models() -> JSONResponse:
        data = [service.describe(name) for name in service.models]
        return JSONResponse({"object": "list", "data": data})

    async def model(name: str) -> JSONResponse:
        return JSONResponse(service.describe(name))

    async def chat(request: HttpRequest) -> Response:
        asked = await read(request, ChatRequest, service.limits.body_bytes)
        return await _respond(service, request, asked, "chat")

    async def completions(request: HttpRequest) -> Response:
        asked = await read(request, CompletionRequest, service.limits.body_bytes)
        return await _respond(service, request, asked, "text")

    async def embed(request: HttpRequest) -> Response:
        asked = await read(request, EmbeddingRequest, service.limits.body_bytes)
        return await _embedded(service, request, asked)

    app.add_api_route(prefix + "/embeddings", embed, methods=["POST"])
    app.add_api_route(prefix + "/models", models, methods=["GET"])
    app.add_api_route(prefix + "/models/{name:path}", model, methods=["GET"])
    app.add_api_route(prefix + "/chat/completions", chat, methods=["POST"])
    app.add_api_route(prefix + "/completions", completions, methods=["POST"])


def _health(service: Service) -> Endpoint:
    async def health() -> Response:
        alive = service.worker.alive
        found = {"status": "ok" if alive else "stopped", "waiting": service.worker.waiting}
        return JSONResponse(found, status_code=200 if alive else 503)

    return health


def _described(service: Service) -> Endpoint:
    found = document(service.models)

    async def described() -> Response:
        return JSONResponse(found)

    return described


def _metrics(service: Service) -> Endpoint:
    async def metrics() -> Response:
        gauges = {
            "tutelage_requests_waiting": float(service.worker.waiting),
            "tutelage_requests_running": float(service.worker.running),
        }
        return PlainTextResponse(service.metrics.text(gauges | service.counts()))

    return metrics


async def _embedded(service: Service, request: HttpRequest, asked: EmbeddingRequest) -> Response:
    ticket = service.embedding(asked)
    async with cancelled_when_gone(request, ticket):
        found = [event async for event in ticket.events()]
    if not found:
        raise shutting_down()
    vectors, tokens = found[0]
    service.metrics.count("tutelage_prompt_tokens_total", tokens)
    as_bytes = asked.encoding_format == "base64"
    return JSONResponse(embeddings(asked.model, vectors, tokens, as_bytes))


async def _respond(service: Service, request: HttpRequest, asked: Asked, kind: Kind) -> Response:
    ticket = service.ticket(asked)
    told = asked.alternatives() is not None
    drawn, found = asked.shares()
    answer = Answer(kind, asked.model, told, drawn, found, asked.echoed(), asked.calls())
    events = service.counted(ticket.events())
    if not asked.stream:
        async with cancelled_when_gone(request, ticket):
            done = [event async for event in events if isinstance(event, Completion)]
        if not done or any(completion.finish_reason == "cancelled" for completion in done):
            raise shutting_down()
        return JSONResponse(answer.whole(choices(asked, done), done))
    # The first event decides the status: a refusal must not hide in a stream that began well.
    async with cancelled_when_gone(request, ticket):
        first = await anext(events, None)
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamingResponse(
        stream(request, ticket, first, events, answer, usage),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _show_fault(request: HttpRequest, error: Exception) -> Response:
    return from_exception(error).response()


async def _show_status(request: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "no such route", 405: "this route takes another method"}.get(status, "refused")
    return Fault(status, text, code="not_found" if status == 404 else None).response()
