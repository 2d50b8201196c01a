"""From named sources to a tokenizer, token stores and held-out documents, each made once.

    OUT/data/NAME/           a token store of each source
    OUT/data/held-out.jsonl  documents that no training token comes from
    OUT/tokenizer/

Which documents are held out follows from their text alone, so it stays the same whatever else is
trained on, and a document that occurs twice is on one side.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tutelage import store
from tutelage.code_hash import code_hash
from tutelage.corpus.documents import Document
from tutelage.corpus.layout import is_store
from tutelage.corpus.sources import Source, open_source
from tutelage.corpus.tokenize import Request, end_token, tokenize
from tutelage.corpus.tokens import TokenStore
from tutelage.data.rows import SetAside
from tutelage.errors import ConfigError, DataError
from tutelage.pretrain.config import PretrainConfig
from tutelage.progress import Progress
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.open import open_tokenizer
from tutelage.tokenizers.train import save, train

HELD_OUT = "held-out.jsonl"
DIGITS = 10**6


@dataclass(frozen=True)
class Material:
    """What a run reads: stores by source, held-out texts by domain, the token between documents."""

    tokenizer: Tokenizer
    end: int
    stores: dict[str, TokenStore]
    held_out: dict[str, list[str]]


def prepare(config: PretrainConfig, out: Path, progress: Progress) -> Material:
    """Make or find all of it. Raises DataError for a source without documents."""
    texts = {
        name: open_source(source, unit=config.data.unit)
        for name, source in config.data.train.items()
        if not is_store(Path(source))
    }
    held_out = _held_out(config, texts, out / "data" / HELD_OUT)
    tokenizer = _tokenizer(config, texts, held_out, out / "tokenizer", progress)
    end = end_token(tokenizer)
    stores: dict[str, TokenStore] = {}
    for name, source in config.data.train.items():
        if name not in texts:
            stores[name] = TokenStore(Path(source))
            continue
        kept = _training(texts[name], held_out.get(name, []))
        identity = [texts[name].identity(), held_out.get(name, [])]
        request = Request(tokenizer, identity, end)
        folder = out / "data" / name
        tokenize(kept, request, folder, lambda: {"steps": []}, progress)
        stores[name] = TokenStore(folder)
    _check_vocabulary(tokenizer, stores)
    return Material(tokenizer, end, stores, held_out)


def _held_out(config: PretrainConfig, texts: dict[str, Source], file: Path) -> dict[str, list[str]]:
    """Named held-out sources whole, and a share of each training source's documents."""
    data = config.data
    identities = {name: source.identity() for name, source in texts.items()}
    asked = [data.model_dump(mode="json"), identities, code_hash(__name__)]
    request = store.digest(asked)
    if file.is_file():
        first, *rest = (json.loads(line) for line in file.read_text("utf-8").splitlines())
        if first.get("request") == request:
            return {row["name"]: row["texts"] for row in rest}
    found: dict[str, list[str]] = {}
    for name, source in data.held_out.items():
        found[name] = [one.text for one in _documents(open_source(source, unit=data.unit))]
    for name, source in texts.items():
        if name not in found and data.held_out_share:
            found[name] = [
                one.text for one in _documents(source) if _draw(one.text) < data.held_out_share
            ]
    found = {name: _some(texts, data.held_out_documents) for name, texts in found.items()}
    lines = [{"request": request}, *({"name": n, "texts": t} for n, t in found.items())]
    file.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
    return {name: texts for name, texts in found.items() if texts}


def _some(texts: list[str], most: int) -> list[str]:
    """At most so many, by a draw of their text: not the first of a sorted source."""
    distinct = dict.fromkeys(texts)
    return sorted(distinct, key=_draw)[:most]


def _draw(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") % DIGITS / DIGITS


def _documents(source: Source) -> Iterator[Document]:
    for one in source:
        if not isinstance(one, SetAside) and one.text.strip():
            yield one


def _training(source: Source, held_out: list[str]) -> Iterator[Document]:
    apart = set(held_out)
    return (one for one in _documents(source) if one.text not in apart)


def _tokenizer(
    config: PretrainConfig, texts: dict[str, Source], held_out: dict[str, list[str]], folder: Path,
    progress: Progress,
) -> Tokenizer:  # fmt: skip
    """The one asked for, the one of the model to go on from, or one learnt from the text."""
    asked = config.tokenizer.source or config.model.start
    if asked is not None:
        return open_tokenizer(asked)
    if not texts:
        names = ", ".join(config.data.train)
        raise ConfigError(
            "a tokenizer cannot be learnt from token stores",
            field="tokenizer.source",
            got=f"only token stores: {names}",
            expected="the tokenizer that made them",
        )
    if not folder.exists():
        learnt = train(
            (one.text for name in texts for one in _training(texts[name], held_out.get(name, []))),
            config.tokenizer.kind,
            config.tokenizer.vocabulary,
            progress=progress,
        )
        save(learnt.tokenizer, folder)
    return open_tokenizer(str(folder))


def _check_vocabulary(tokenizer: Tokenizer, stores: dict[str, TokenStore]) -> None:
    for name, one in stores.items():
        if one.header.vocabulary != tokenizer.vocabulary:
            raise DataError(
                "a token store was made with another tokenizer",
                field=f"data.train.{name}",
                got=f"{one.header.vocabulary} tokens known",
                expected=tokenizer.vocabulary,
            )
