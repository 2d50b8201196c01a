"""The one place where bytes that must last are written: whole or not at all.

    write_bytes(path, data)          temporary file, fsync, rename, fsync of the folder
    with new_file(path) as file:     the same for a file too large to be held in memory
    with new_folder(path) as tmp:    everything written to tmp appears at path at once,
        ...                          with manifest.json (sizes, SHA-256) written last
    move(old, new)                   a rename that lasts
    verify(path)                     DamagedError naming the file that is not what was written
    with lock(path): ...             one process a folder; BusyError names the holder's pid

A kill at any moment leaves the old state or the new, never a mix; leftovers are named
`.tmp-*` and swept by the next writer that holds the lock. Bytes and JSON only, never pickle.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tutelage.errors import BusyError, ConfigError, DamagedError, WorkError

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"


def before(operation: str, path: Path) -> None:
    """Called before each durable operation (write, fsync, rename); fault tests replace it."""


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, durably and atomically. Raises WorkError (disk full, read-only)."""
    with new_file(path) as file:
        before("write", path)
        file.write(data)


def fingerprint(path: Path, pieces: int = 64, piece: int = 2**20) -> tuple[int, str]:
    """Bytes, and a digest of all of them; of a large file of as many pieces as said, evenly spread
    with its first and last, which is what can be afforded each time work goes on. Times do not
    count: a copy of a file is the same file."""
    size, found = path.stat().st_size, hashlib.sha256()
    if size <= pieces * piece:
        return size, sha256(path)
    with path.open("rb") as file:
        for number in range(pieces):
            file.seek((size - piece) * number // (pieces - 1))
            found.update(file.read(piece))
    return size, found.hexdigest()


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file whose bytes replace `path`, durably and atomically, when the block ends well.

    Raises WorkError (disk full, read-only).
    """
    with _named_failures(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                before("fsync", path)
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            before("rename", path)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)


def check_place(path: Path, file: bool = False) -> None:
    """Raise ConfigError if nothing could be written at `path`, where `file` says so no file:
    before the work whose result it is. Raises WorkError where the disk is full or read-only."""
    with _named_failures(path):
        try:
            if file and path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EROFS):
                raise
            raise ConfigError(
                f"cannot write {path}: {error.strerror}",
                field="--out",
                got=path,
                expected="a file that can be written" if file else "a place that can be written to",
            ) from error
        os.close(handle)
        Path(name).unlink()


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON (no NaN, no Infinity), keys in the order given."""
    write_text(path, to_json(value) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; DamagedError if the file is cut short or not JSON, FileNotFoundError if absent."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedError(f"{path} is not readable JSON: {error}", field=str(path)) from None


def to_json(value: Any, indent: int | None = 1) -> str:
    """Strict JSON text. Raises ValueError on NaN or Infinity."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: the key under which a stage is cached."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`, with a manifest, when the block ends well.

    An existing `path` is replaced. Files already fsynced or not, all are fsynced here.
    """
    with _named_failures(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
        temporary.chmod(0o755)
    try:
        yield temporary
        with _named_failures(path):
            _seal(temporary)
            old = path.with_name(f"{TEMPORARY}old-{path.name}-{os.getpid()}")
            if path.exists():
                before("rename", path)
                path.rename(old)
            before("rename", path)
            temporary.rename(path)
            _fsync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def move(old: Path, new: Path) -> None:
    """Rename durably within one file system; `new` must not exist."""
    with _named_failures(new):
        before("rename", new)
        old.rename(new)
        _fsync_folder(new.parent)


def verify(path: Path) -> dict[str, Any]:
    """Check a folder against its manifest and return the manifest.

    Raises DamagedError naming the first file that is missing, longer, shorter or different; the
    manifest itself where it is not of the structure that is written here.
    """
    manifest_path = path / MANIFEST
    if not manifest_path.exists():
        raise DamagedError(f"{path} has no {MANIFEST}: it was never completed", field=str(path))
    manifest = read_json(manifest_path)
    if not _is_manifest(manifest):
        raise DamagedError(
            f"{manifest_path} is damaged",
            field=str(manifest_path),
            expected='{"files": {NAME: {"bytes", "sha256"}}}',
        )
    for name, entry in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise DamagedError(f"{file} is missing", field=str(file))
        size = file.stat().st_size
        if size != entry["bytes"]:
            raise DamagedError(
                f"{file} is damaged", field=str(file), got=f"{size} bytes", expected=entry["bytes"]
            )
        found = sha256(file)
        if found != entry["sha256"]:
            raise DamagedError(
                f"{file} is damaged", field=str(file), got=found, expected=entry["sha256"]
            )
    return dict(manifest)


def _is_manifest(value: Any) -> bool:
    """Whether JSON has the structure that `_seal` writes."""
    files = value.get("files") if isinstance(value, dict) else None
    return isinstance(files, dict) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    )


def sweep(folder: Path) -> None:
    """Finish or remove what killed writers left behind. Call only while holding the lock."""
    for leftover in sorted(folder.rglob(f"{TEMPORARY}*")):
        replaced = (
            leftover.parent / leftover.name.removeprefix(f"{TEMPORARY}old-").rpartition("-")[0]
        )
        if leftover.name.startswith(f"{TEMPORARY}old-") and not replaced.exists():
            leftover.rename(replaced)  # killed between the two renames of a replacement
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises BusyError with the holder's pid.

    The kernel frees the lock when the process ends however it ends, so it never goes stale.
    """
    with _named_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(
                f"{folder} is in use by process {holder}",
                field=str(folder),
                got=f"held by pid {holder}",
                hint="wait for it, stop it, or choose another folder with --out",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _seal(folder: Path) -> None:
    files = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        before("fsync", file)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        name = file.relative_to(folder).as_posix()
        files[name] = {"bytes": file.stat().st_size, "sha256": sha256(file)}
    write_json(folder / MANIFEST, {"files": files})


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        before("fsync", folder)
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    """Turn the system's refusals into errors that say which path, and what is free or missing."""
    try:
        yield
    except OSError as error:
        where = path if path.exists() else path.parent
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(where).free if where.exists() else 0
            raise WorkError(
                f"disk full while writing {path}", field=str(path), got=f"{free} bytes free"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise WorkError(
                f"cannot write {path}: {error.strerror}", field=str(path), expected="writable"
            ) from error
        raise WorkError(f"cannot write {path}: {error.strerror}", field=str(path)) from error
