"""How a model is named: the grammar of model sources. Reads no weights, imports no torch, asks no
network; looks at the disk only to tell a folder, a run and a file apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from tutelage.errors import SourceError, did_you_mean

Kind = Literal["folder", "run", "gguf", "pypi", "hf", "preset", "http", "scripted"]

FORMS = (
    "a model folder, a run folder, FILE.gguf, pypi:PACKAGE[==VERSION], hf:OWNER/NAME[@REVISION], "
    "preset:NAME, http://HOST[:PORT]/v1#MODEL, scripted:FILE"
)
SCHEMES = ("pypi", "hf", "preset", "http", "https", "scripted")

_PACKAGE = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:==([A-Za-z0-9.!+_-]+))?")
_HUB_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_HUB = re.compile(rf"({_HUB_NAME})/({_HUB_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")
_PRESET = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Source:
    """One parsed model source; only the fields of its kind are set."""

    kind: Kind
    text: str
    path: Path | None = None
    """folder, run (its `model/`), gguf, scripted"""
    package: str | None = None
    version: str | None = None
    owner: str | None = None
    name: str | None = None
    revision: str | None = None
    preset: str | None = None
    url: str | None = None
    """http: without the model"""
    model: str | None = None
    """http: the model's name at the server"""

    @property
    def located(self) -> Path:
        """The path of a source that has one."""
        assert self.path is not None, f"a source of kind {self.kind} has no path"
        return self.path

    @property
    def has_weights(self) -> bool:
        """False for what only answers in text: a server, a script."""
        return self.kind not in ("http", "scripted")


def parse(text: str) -> Source:
    """Tell what kind of source `text` names. Raises SourceError listing the accepted forms."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme in SCHEMES:
        return _PARSERS[scheme](text, rest)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return _folder(text, path)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise SourceError(f"no such file: {text}", field="model", got=text, expected="a file")
        return Source("gguf", text, path=path)
    raise _unknown(text, scheme if colon else None)


def _folder(text: str, path: Path) -> Source:
    if not (path / "record.json").is_file():
        return Source("folder", text, path=path)
    if not (path / "model").is_dir():
        raise SourceError(
            f"the run {text} has no model yet",
            field="model",
            got=text,
            expected=f"the folder {path / 'model'}",
            hint="let the run finish, or name the base model it starts from",
        )
    return Source("run", text, path=path / "model")


def _pypi(text: str, rest: str) -> Source:
    match = _PACKAGE.fullmatch(rest)
    if not match:
        raise _malformed(text, "pypi:PACKAGE[==VERSION]")
    return Source("pypi", text, package=_normalized(match[1]), version=match[2])


def _hf(text: str, rest: str) -> Source:
    match = _HUB.fullmatch(rest)
    if not match or ".." in rest:
        raise _malformed(text, "hf:OWNER/NAME[@REVISION]")
    return Source("hf", text, owner=match[1], name=match[2], revision=match[3])


def _preset(text: str, rest: str) -> Source:
    if not _PRESET.fullmatch(rest):
        raise _malformed(text, "preset:NAME, as in preset:llama-tiny")
    return Source("preset", text, preset=rest)


def _http(text: str, rest: str) -> Source:
    expected = "http://HOST[:PORT]/v1#MODEL"
    try:
        parts = urlsplit(text)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.username is not None or parts.query:
        raise _malformed(text, expected)
    if not parts.fragment:
        raise SourceError(
            f"{text} does not say which model of that server",
            field="model",
            got=text,
            expected=expected,
            hint="write the model's name after a '#'",
        )
    return Source("http", text, url=text.partition("#")[0].rstrip("/"), model=parts.fragment)


def _scripted(text: str, rest: str) -> Source:
    path = Path(rest).expanduser()
    if not rest or not path.is_file():
        raise SourceError(
            f"no such file: {rest or '(none)'}", field="model", got=text, expected="scripted:FILE"
        )
    return Source("scripted", text, path=path)


_PARSERS = {
    "pypi": _pypi,
    "hf": _hf,
    "preset": _preset,
    "http": _http,
    "https": _http,
    "scripted": _scripted,
}


def _normalized(package: str) -> str:
    """A package's one spelling: lower case, hyphens (PyPA name normalization)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def _malformed(text: str, expected: str) -> SourceError:
    return SourceError(
        f"cannot read the source {text!r}", field="model", got=text, expected=expected
    )


def _unknown(text: str, scheme: str | None) -> SourceError:
    hint = did_you_mean(f"{scheme}:", [f"{known}:" for known in SCHEMES]) if scheme else None
    if hint is None and _HUB.fullmatch(text):
        hint = f"did you mean 'hf:{text}'?"
    elif hint is None and Path(text).is_file():
        hint = "of files, only .gguf holds a model; for other weights name their folder"
    return SourceError(
        f"no such model: {text!r}", field="model", got=text, expected=FORMS, hint=hint
    )
