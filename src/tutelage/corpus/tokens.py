"""Reading a token store: any piece of the stream, mapped from disk, and windows by their number.

    stream = TokenStore(Path("store"))
    windows = Windows(stream, length=1024, seed=0)
    windows[17]                        # 1025 tokens: the 18th window of the training order

A position in the training order is one integer, and a window follows from (store, length, seed,
position) alone: going on after a kill means asking for the next integer. Nothing is read or counted
to get there.

A shard that is not what was written is never read: its size is checked when the store is opened,
its SHA-256 before the first token is taken from it, and DamagedError names the file.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from tutelage import store
from tutelage.corpus.layout import END_DTYPE, TOKENIZER, ends_name, read_header, shard_name
from tutelage.corpus.permute import permuted
from tutelage.errors import ConfigError, DamagedError, DataError


class TokenStore:
    """One long stream of tokens. Holds no tokens in memory."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if there is no store, DamagedError naming a file that is missing or of
        another size."""
        self.path = path
        self.header = read_header(path)
        self._manifest = _manifest(path)
        self._maps: dict[int, np.ndarray] = {}
        self._check_sizes()

    def __len__(self) -> int:
        return self.header.tokens

    def __repr__(self) -> str:
        return f"TokenStore({str(self.path)!r}, {len(self):,} tokens)"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the digests of all shards: the same for the same tokens."""
        names = [shard_name(number) for number in range(len(self.header.shards))]
        return store.digest([self._manifest[name]["sha256"] for name in names])

    @property
    def tokenizer_folder(self) -> Path:
        """The tokenizer that made it, as Hugging Face's files."""
        return self.path / TOKENIZER

    def slice(self, start: int, stop: int) -> np.ndarray:
        """The tokens start .. stop - 1 of the stream. Raises IndexError beyond its ends."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens {start}..{stop} of {len(self)}")
        size = self.header.shard_tokens
        pieces = [
            self._shard(number)[max(start - number * size, 0) : stop - number * size]
            for number in range(start // size, -(-stop // size))
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=self.header.dtype)

    def ends(self, start: int, stop: int) -> np.ndarray:
        """Where documents end in start .. stop - 1: for each the position after its end token,
        which lies in start + 1 .. stop."""
        found = self._all_ends
        low, high = np.searchsorted(found, [start, stop], side="right")
        return found[low:high]

    def verify(self) -> None:
        """Check every file against the manifest. Raises DamagedError naming the first that is not
        what was written."""
        store.verify(self.path)

    @functools.cached_property
    def _all_ends(self) -> np.ndarray:
        parts = []
        for number in range(len(self.header.shards)):
            self._check_digest(ends_name(number))
            parts.append(np.fromfile(self.path / ends_name(number), dtype=END_DTYPE))
        return np.concatenate(parts)

    def _shard(self, number: int) -> np.ndarray:
        if number not in self._maps:
            name = shard_name(number)
            self._check_digest(name)
            self._maps[number] = np.memmap(self.path / name, dtype=self.header.dtype, mode="r")
        return self._maps[number]

    def _check_sizes(self) -> None:
        width = np.dtype(self.header.dtype).itemsize
        for number, shard in enumerate(self.header.shards):
            expected = {
                shard_name(number): shard.tokens * width,
                ends_name(number): shard.documents * 8,
            }
            for name, size in expected.items():
                file = self.path / name
                if name not in self._manifest or not file.is_file():
                    raise DamagedError(f"{file} is missing", field=str(file))
                if file.stat().st_size != size:
                    raise DamagedError(
                        f"{file} is damaged",
                        field=str(file),
                        got=f"{file.stat().st_size} bytes",
                        expected=size,
                    )

    def _check_digest(self, name: str) -> None:
        file, expected = self.path / name, self._manifest[name]["sha256"]
        found = store.sha256(file)
        if found != expected:
            raise DamagedError(
                f"{file} is damaged", field=str(file), got=found, expected=expected,
                hint="make the store again from its text",
            )  # fmt: skip


class Windows:
    """Windows of a store in an order that follows from a seed: every window once an epoch.

    Window w holds the tokens w * length .. (w + 1) * length, one more than `length`, so that each
    token but the first is predicted once. What is left at the end of the stream is not used.
    """

    def __init__(self, stream: TokenStore, length: int, seed: int = 0) -> None:
        """`length` in tokens. Raises DataError for a store too short for one window."""
        if length < 1:
            raise ConfigError("a window holds at least one token", field="length", got=length)
        self.stream, self.length, self.seed = stream, length, seed
        self.count = (len(stream) - 1) // length
        """Windows of an epoch."""
        if self.count < 1:
            raise DataError(
                f"{stream.path} is too short for one window",
                field=str(stream.path),
                got=f"{len(stream)} tokens",
                expected=f"at least {length + 1}",
            )

    def start(self, position: int) -> int:
        """Where in the stream the window at a position of the training order begins."""
        epoch, place = divmod(position, self.count)
        return permuted(place, self.count, f"{self.seed}:{epoch}") * self.length

    def __getitem__(self, position: int) -> np.ndarray:
        """length + 1 tokens. `position` counts on over epochs without end."""
        if position < 0:
            raise IndexError(position)
        start = self.start(position)
        return self.stream.slice(start, start + self.length + 1)

    def ends(self, position: int) -> np.ndarray:
        """Where documents end in that window, counted from its beginning."""
        start = self.start(position)
        found = self.stream.ends(start, start + self.length + 1)
        return (found - np.uint64(start)).astype(np.int64)


def _manifest(path: Path) -> dict[str, Any]:
    file = path / store.MANIFEST
    if not file.is_file():
        raise DamagedError(f"{path} has no {store.MANIFEST}", field=str(file))
    found = store.read_json(file)
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and "sha256" in entry for entry in files.values()
    ):
        raise DamagedError(f"{file} is damaged", field=str(file))
    return files
