"""`tutelage serve`: a model behind OpenAI's HTTP protocol."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from tutelage.cli.choosing import Speculating, flagged
from tutelage.cli.shared import Shared, answer
from tutelage.errors import ConfigError

MODEL_ID = "model"


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    adapter: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    api_key_file: Path | None = None,
    model_key_file: Path | None = None,
    waiting: int = 32,
    per_key: int = 64,
    cache_gb: float = 0.6,
    kv_cache_dtype: Literal["auto", "int8"] = "auto",
    speculating: Speculating | None = None,
    shared: Shared | None = None,
) -> None:
    """Serve a model to OpenAI clients: /v1/models, /v1/chat/completions, /v1/completions,
    /v1/embeddings, /health, /metrics.

    Prints one line of JSON, {"url", "pid", "model"}, when ready, then runs until SIGTERM or Ctrl-C.
    The model's id in requests is "model".

    Parameters
    ----------
    model
        A model source, as for `generate`.
    host
        Address to listen on; one that other machines reach needs --api-key-file.
    port
        Port to listen on; 0 picks a free one.
    adapter
        NAME=DIR: also serve the model with this adapter, under the id NAME; several times for more.
        The base stays served as "model"; its weights are in memory once.
    api_key_file
        File with the key that clients must send; several keys stand on a line each.
    model_key_file
        File with the key that is sent on, for an http(s):// model.
    waiting
        How many requests may wait behind those being answered (64 at once by a model on this
        machine); more are told to come back (503).
    per_key
        How many requests of one key may be under way or wait; more are told to come back (429).
    cache_gb
        What keys and values of all answers under way, and of beginnings that are remembered, may
        take together (GB = 1e9 bytes); one answer is given whatever it takes.
    kv_cache_dtype
        What keys and values are kept in: auto, the type the model computes in, or int8, 8 bits with
        a scale for each token and head: about half the memory, so twice the room.
    """
    from tutelage.backends.key import read_keys
    from tutelage.serve.run import HttpServer, bind, url
    from tutelage.serve.service import Limits

    shared = shared or Shared()
    if waiting < 0:
        raise ConfigError("--waiting must be 0 or more", field="--waiting", got=waiting)
    if per_key < 1:
        raise ConfigError("--per-key must be 1 or more", field="--per-key", got=per_key)
    if not cache_gb > 0:
        raise ConfigError("--cache-gb must be more than 0", field="--cache-gb", got=cache_gb)
    key = None if api_key_file is None else read_keys(api_key_file)
    named = _adapters(adapter)
    with bind(host, port, key=key is not None) as listener:
        models = _open(model, named, model_key_file, shared, speculating, cache_gb, kv_cache_dtype)
        limits = Limits(per_key=per_key)
        server = HttpServer(models, listener, key=key, waiting=waiting, limits=limits)
        ready: dict[str, Any] = {"url": url(listener), "pid": os.getpid(), "model": MODEL_ID}
        if named:
            ready["adapters"] = list(named)
        server.run(ready=lambda: answer(ready))


def show(result: dict[str, Any]) -> None:
    """Nothing is left to show when a server has ended."""


def _open(
    model: str,
    adapters: dict[str, Path],
    key_file: Path | None,
    shared: Shared,
    speculating: Speculating | None,
    cache_gb: float,
    kv_cache_dtype: Literal["auto", "int8"],
) -> dict[str, Any]:
    """The models by id."""
    from tutelage.backends.open import open_with_adapters

    try:
        found = open_with_adapters(
            model,
            adapters,
            device=shared.device,
            dtype=shared.dtype,
            exact=shared.exact,
            threads=shared.threads,
            api_key_file=key_file,
            seed=shared.seed or 0,
            cache_bytes=int(cache_gb * 1e9),
            speculative=None if speculating is None else speculating.settings(),
            kv_cache_dtype=kv_cache_dtype,
        )
        return {MODEL_ID if name is None else name: lm for name, lm in found.items()}
    except ConfigError as error:
        if error.field == "draft":
            raise flagged(error) from None
        if error.field == "--api-key-file":  # here the name of the other key
            error.field = "--model-key-file"
            error.hint = error.hint and error.hint.replace("--api-key-file", "--model-key-file")
        raise


def _adapters(given: tuple[str, ...]) -> dict[str, Path]:
    """Folders by name. Raises ConfigError for what cannot be read, and a name given twice."""
    found: dict[str, Path] = {}
    for text in given:
        name, folder = _adapter(text)
        if name in found:
            raise ConfigError(
                f"two adapters are named {name!r}", field="--adapter", got=text,
                expected="a name of its own for each",
            )  # fmt: skip
        found[name] = folder
    return found


def _adapter(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder) or name == MODEL_ID:
        raise ConfigError(
            f"cannot read --adapter {text!r}",
            field="--adapter",
            got=text,
            expected=f"NAME=DIR, with a NAME other than {MODEL_ID!r}",
        )
    if not Path(folder).is_dir():
        raise ConfigError(
            f"no such adapter folder: {folder}",
            field="--adapter",
            got=folder,
            expected="a folder",
        )
    return name, Path(folder)
