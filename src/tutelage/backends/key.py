"""API keys come from files, never from the command line or the environment, and are never shown."""

from __future__ import annotations

from pathlib import Path

from tutelage.errors import ConfigError

_LONGEST = 4096


def read_key(path: Path, several: bool = False) -> str:
    """The key in `path`: one line of printable ASCII, or `several` lines. Raises ConfigError, which
    never shows it."""
    field = "--api-key-file"
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read the key file {path}: {error.strerror}", field=field, got=path
        ) from None
    text = data.decode("latin-1").strip()
    if not text:
        raise ConfigError(f"the key file {path} is empty", field=field, got=path)
    lines = text.splitlines() if several else [text]
    readable = all(line.strip() and line.isascii() and line.isprintable() for line in lines)
    if len(data) > _LONGEST or not readable or " " in text:
        raise ConfigError(
            f"the key file {path} does not hold a key",
            field=field,
            got=path,
            expected=f"one line of at most {_LONGEST} printable ASCII characters, no spaces",
        )
    return text


def read_keys(path: Path) -> str:
    """The keys in `path`, one a line: those of several clients. Raises as `read_key` does."""
    key = read_key(path, several=True)
    return "\n".join(line.strip() for line in key.splitlines())
