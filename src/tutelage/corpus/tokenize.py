"""Text into a token store. Killed at any moment, the same call goes on and ends bitwise the same.

Each document becomes its tokens and one end token. Control tokens that the text spells stay text.
Shards are written one by one beside the store, in OUT.state, and a shard that is there is never
made again: after a kill the source is read from its beginning, which is cheap, and tokenizing,
which is not, goes on at the first token that was not written. The store appears at OUT at once,
when all of it is there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage import store
from tutelage.code_hash import code_hash
from tutelage.corpus import funnel
from tutelage.corpus.documents import Document
from tutelage.corpus.layout import (
    END_DTYPE,
    HEADER,
    SHARD_TOKENS,
    TOKENIZER,
    Header,
    Shard,
    dtype_for,
    ends_name,
    is_store,
    read_header,
    shard_name,
)
from tutelage.errors import ConfigError, DamagedError, DataError, RequestError
from tutelage.progress import Progress, silent
from tutelage.text.tokenizer import Tokenizer

PROGRESS = "progress.json"
REQUEST = "request.json"
Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a store is made of. `identity` changes when the source does."""

    tokenizer: Tokenizer
    identity: Any
    end: int
    shard_tokens: int = SHARD_TOKENS

    @property
    def digest(self) -> str:
        return store.digest(
            {
                "source": self.identity,
                "tokenizer": hashlib.sha256(self.tokenizer.json.encode()).hexdigest(),
                "end": self.end,
                "shard_tokens": self.shard_tokens,
                "code": code_hash(__name__),
            }
        )


def end_token(tokenizer: Tokenizer, asked: str | None = None) -> int:
    """The id of the token that ends a document: the one asked for, else the tokenizer's own.

    Raises ConfigError where there is none.
    """
    found = tokenizer.eos_id if asked is None else tokenizer.id(asked)
    if found is None:
        raise ConfigError(
            "the tokenizer has no token to end a document with"
            if asked is None
            else f"the tokenizer has no token {asked!r}",
            field="--end",
            got=asked,
            expected="a token of the vocabulary",
            hint="name one with --end, as '[SEP]'",
        )
    return found


def tokenize(
    documents: Iterable[Document],
    request: Request,
    out: Path,
    report: Callable[[], Json],
    progress: Progress = silent,
) -> Header:
    """Write the store `out` and return its header; a finished store of the same request is
    returned as it is, and checked.

    `report` gives the funnel once all documents have been read. Raises RequestError if `out` holds
    anything else, ConfigError if it cannot be made, DataError if there is no document, WorkError
    if the disk is full or read-only.
    """
    if request.shard_tokens < 1:
        raise ConfigError(
            "a shard holds at least one token", field="--shard-tokens", got=request.shard_tokens
        )
    folder = out.with_name(out.name + ".state")
    done = _finished(request, out)
    if done is not None and not folder.exists():
        return done
    store.check_place(out)
    with store.lock(folder):
        store.sweep(folder)
        done = _finished(request, out)
        if done is None:
            done = _made(documents, request, folder, out, report, progress)
        shutil.rmtree(folder, ignore_errors=True)
    return done


def _finished(request: Request, out: Path) -> Header | None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if is_store(out) and (out / REQUEST).is_file():
        known = store.read_json(out / REQUEST)
        if isinstance(known, dict) and known.get("request") == request.digest:
            store.verify(out)
            return read_header(out)
    raise RequestError(
        f"{out} exists and holds something else", field="--out", hint="choose another folder"
    )


def _made(
    documents: Iterable[Document],
    request: Request,
    folder: Path,
    out: Path,
    report: Callable[[], Json],
    progress: Progress,
) -> Header:
    shards = _Shards(folder, request)
    text_bytes = 0
    for number, document in enumerate(documents, 1):
        text_bytes += len(document.text.encode("utf-8"))
        if number > shards.documents:
            shards.add(_tokens(document, request))
            progress("tokens", shards.tokens, None)
    shards.close()
    if not shards.documents:
        raise DataError("there is no document to store", field="data", expected="at least one")
    header = Header(
        tokens=shards.tokens,
        documents=shards.documents,
        text_bytes=text_bytes,
        dtype=shards.dtype,
        vocabulary=request.tokenizer.vocabulary,
        end=request.end,
        shard_tokens=request.shard_tokens,
        shards=tuple(shards.written),
    )
    with store.new_folder(folder / "result") as inside:
        for name in shards.files():
            _link(folder / name, inside / name)
        request.tokenizer.to_files(inside / TOKENIZER)
        funnel.write(report(), inside / funnel.NAME)
        store.write_json(inside / HEADER, header.model_dump(mode="json"))
        store.write_json(inside / REQUEST, {"request": request.digest})
    if out.exists():
        out.rmdir()  # empty, as `_finished` has seen
    store.move(folder / "result", out)
    return header


def _link(old: Path, new: Path) -> None:
    """A second name for a file; a copy where the file system has no such thing."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _tokens(document: Document, request: Request) -> np.ndarray:
    """A document's tokens and the end token."""
    ids = request.tokenizer.encode_plain(document.text)
    return np.array([*ids, request.end], dtype=dtype_for(request.tokenizer.vocabulary))


class _Shards:
    """The shards of a store that is being made: those on disk, and the one in memory."""

    def __init__(self, folder: Path, request: Request) -> None:
        self._folder = folder
        self._request = request
        self.dtype = dtype_for(request.tokenizer.vocabulary)
        self._digests: list[list[str]] = []
        self.written: list[Shard] = []
        self._skip = 0
        self._resume()
        self._buffer = np.empty(request.shard_tokens, dtype=self.dtype)
        self._filled = 0
        self._ends: list[int] = []

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.written) + self._filled

    @property
    def documents(self) -> int:
        """Documents that are in the store whole."""
        return sum(shard.documents for shard in self.written) + len(self._ends)

    def add(self, tokens: np.ndarray) -> None:
        """The next document. Of the one that the last kill cut in two the beginning is there."""
        rest, self._skip = tokens[self._skip :], 0
        while len(rest):
            taken = min(len(rest), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]
            if not len(rest):
                self._ends.append(self.tokens)
            if self._filled == len(self._buffer):
                self._write()

    def close(self) -> None:
        if self._filled:
            self._write()

    def files(self) -> Iterator[str]:
        for number in range(len(self.written)):
            yield shard_name(number)
            yield ends_name(number)

    def _write(self) -> None:
        number = len(self.written)
        parts = {
            shard_name(number): self._buffer[: self._filled].tobytes(),
            ends_name(number): np.array(self._ends, dtype=END_DTYPE).tobytes(),
        }
        for name, data in parts.items():
            store.write_bytes(self._folder / name, data)
        self._digests.append([hashlib.sha256(data).hexdigest() for data in parts.values()])
        self.written.append(Shard(tokens=self._filled, documents=len(self._ends)))
        self._filled, self._ends = 0, []
        store.write_json(
            self._folder / PROGRESS,
            {
                "request": self._request.digest,
                "shards": [
                    {**shard.model_dump(), "sha256": digests}
                    for shard, digests in zip(self.written, self._digests, strict=True)
                ],
            },
        )

    def _resume(self) -> None:
        """Take over the full shards of an earlier call of the same request, up to the first that
        is not what was written. A last shard that is not full is made again: it was written
        because the source had ended, and costs at most one shard."""
        known = _read_progress(self._folder)
        if known.get("request") != self._request.digest:
            return
        for number, entry in enumerate(known["shards"]):
            files = [self._folder / shard_name(number), self._folder / ends_name(number)]
            full = entry["tokens"] == self._request.shard_tokens
            if not full or [_digest(file) for file in files] != entry["sha256"]:
                break
            self.written.append(Shard(tokens=entry["tokens"], documents=entry["documents"]))
            self._digests.append(entry["sha256"])
        self._skip = self._tokens_after_the_last_end()

    def _tokens_after_the_last_end(self) -> int:
        tokens = sum(shard.tokens for shard in self.written)
        for number in reversed(range(len(self.written))):
            ends = np.fromfile(self._folder / ends_name(number), dtype=END_DTYPE)
            if len(ends):
                return tokens - int(ends[-1])
        return tokens


def _read_progress(folder: Path) -> Json:
    try:
        known: Any = store.read_json(folder / PROGRESS)
    except (FileNotFoundError, DamagedError):
        return {}
    return known if isinstance(known, dict) else {}


def _digest(file: Path) -> str | None:
    return store.sha256(file) if file.is_file() else None
