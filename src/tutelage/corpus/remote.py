"""Data sets of the Hugging Face hub as a stream: hf:OWNER/NAME[@REVISION][/FOLDER or /FILE].

Nothing is downloaded beforehand: files are read over the network as far as they are asked for, so a
set may be larger than the disk. The revision is resolved to a commit first, so that a second pass
reads the same. Only data of known formats is read, never code. With the network switched off
(HF_HUB_OFFLINE) a set that was downloaded earlier is read from the cache.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tutelage.data.files import DataFile, Reader, data_files, reader_for
from tutelage.errors import DataError

_SOURCE = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:/([\w./ -]+?))?/?")
BLOCK_BYTES = 8 * 2**20
"""Read at once over the network."""


@dataclass(frozen=True)
class RemoteFile(DataFile):
    """A file that is opened over the network. Its `path` is a name for messages."""

    opened: Callable[[], Any]

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        with reachable(str(self.path)), self.opened() as stream:
            if self.path.suffix != ".gz":
                yield stream
                return
            with gzip.open(stream) as inside:
                yield cast(BinaryIO, inside)


def remote_files(source: str, readers: Mapping[str, Reader]) -> tuple[list[DataFile], list[str]]:
    """The data files of a set in order, and notes.

    Raises DataError: a malformed name, no such set or file, no network.
    """
    found = _SOURCE.fullmatch(source)
    if found is None:
        raise DataError(
            f"{source} is not a data set of the hub",
            field=source,
            expected="hf:OWNER/NAME[@REVISION][/FOLDER or /FILE]",
        )
    name, revision, below = found.groups()
    import huggingface_hub
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        from tutelage.data.hub import downloaded

        folder, note = downloaded(source)
        cached, notes = data_files(str(folder), readers)
        return cached, [note, *notes]
    with reachable(source):
        commit = str(huggingface_hub.HfApi().dataset_info(name, revision=revision).sha)
        system = huggingface_hub.HfFileSystem()
        root = f"datasets/{name}@{commit}"
        listed = sorted(system.find(f"{root}/{below}" if below else root))
    files: list[DataFile] = []
    for path in listed:
        inside = path.removeprefix(f"{root}/")
        reader = reader_for(Path(inside), readers)
        if reader is not None and not any(part.startswith(".") for part in inside.split("/")):
            files.append(_file(system, path, inside, f"hf:{name}@{commit[:12]}/{inside}", reader))
    if not files:
        raise DataError(
            f"{source} holds no data file", field=source, expected=" ".join(sorted(readers))
        )
    return files, [f"{source} was read at revision {commit}, {len(files)} files"]


def _file(system: Any, path: str, inside: str, shown: str, reader: Reader) -> RemoteFile:
    def opened() -> Any:
        return system.open(path, "rb", block_size=BLOCK_BYTES)

    return RemoteFile(Path(shown), inside, reader, opened)


@contextmanager
def reachable(source: str) -> Iterator[None]:
    """Turn failures of the network and of the hub into errors that name the source."""
    import httpx2

    try:
        yield
    except gzip.BadGzipFile:
        raise  # what was read is at fault, not the reading
    except (OSError, ValueError, httpx2.HTTPError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"cannot get {source}: {lines[0]}",
            field=source,
            hint="check the name and the network; what was written so far is kept",
        ) from None
