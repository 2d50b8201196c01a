"""From named sources to a tokenizer, token stores and held-out documents, each made once.

    OUT/data/NAME/           a token store of each source
    OUT/data/held-out.jsonl  documents that no training token comes from
    OUT/tokenizer/

Which documents are held out follows from their text alone, so it stays the same whatever else is
trained on, and a document that occurs twice is on one side.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.code_hash import code_hash
from tutelage.corpus import funnel
from tutelage.corpus.documents import Document
from tutelage.corpus.layout import is_store
from tutelage.corpus.pipeline import Pipeline
from tutelage.corpus.sources import Source, open_source
from tutelage.corpus.tokenize import REQUEST, Request, end_token, tokenize
from tutelage.corpus.tokens import TokenStore
from tutelage.errors import ConfigError, DataError, RequestError
from tutelage.pretrain.config import PretrainConfig
from tutelage.progress import Progress
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.open import open_tokenizer
from tutelage.tokenizers.train import train

HELD_OUT = "held-out.jsonl"
DIGITS = 10**12
FEWEST = 20
"""Documents, below which an interval says little."""


@dataclass(frozen=True)
class Material:
    """What a run reads: stores by source, held-out texts by domain, the token between documents.
    `sources` are those of text, from which the stores were made."""

    tokenizer: Tokenizer
    end: int
    stores: dict[str, TokenStore]
    held_out: dict[str, list[str]]
    sources: dict[str, Source]

    def training_texts(self) -> Iterator[str]:
        """Every document that is trained on, source after source."""
        for name, source in self.sources.items():
            yield from (one.text for one in _training(source, self.held_out.get(name, [])))


def prepare(config: PretrainConfig, out: Path, progress: Progress) -> Material:
    """Make or find all of it. Raises DataError for a source without documents."""
    texts = {
        name: open_source(source, unit=config.data.unit)
        for name, source in config.data.train.items()
        if not is_store(Path(source))
    }
    held_out = _held_out(config, texts, out / "data" / HELD_OUT)
    tokenizer = _tokenizer(config, texts, held_out, out / "tokenizer", progress)
    end = end_token(tokenizer, None if tokenizer.eos_id is not None else tokenizer.special.sep)
    stores = {
        name: _store(name, texts[name], held_out.get(name, []), tokenizer, end, out, progress)
        if name in texts
        else TokenStore(Path(source))
        for name, source in config.data.train.items()
    }
    _check_vocabulary(tokenizer, stores)
    return Material(tokenizer, end, stores, held_out, texts)


def _store(
    name: str, source: Source, held_out: list[str], tokenizer: Tokenizer, end: int, out: Path,
    progress: Progress,
) -> TokenStore:  # fmt: skip
    """The source's tokens without its held-out documents."""
    pipeline = _training(source, held_out)
    request = Request(tokenizer, [source.identity(), held_out], end)

    def report() -> dict[str, Any]:
        settings = {"vocabulary": tokenizer.vocabulary, "end": end}
        return funnel.funnel("tokenize", [source.name], pipeline.tallies, settings, source.notes)

    folder = out / "data" / name
    tokenize(pipeline, request, folder, report, progress)
    return TokenStore(folder)


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
    for name, named in data.held_out.items():
        found[name] = _lowest(open_source(named, unit=data.unit), 1.0, data.held_out_documents)
    for name, source in texts.items():
        if name not in found and data.held_out_share:
            found[name] = _lowest(source, data.held_out_share, data.held_out_documents)
            _some_left(name, source, found[name])
    lines = [{"request": request}, *({"name": n, "texts": t} for n, t in found.items())]
    file.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
    return found


def _some_left(name: str, source: Source, apart: list[str]) -> None:
    """Raises ConfigError where nothing is left to learn from: a text of one document."""
    if apart and all(one.text in apart for one in _documents(source)):
        raise ConfigError(
            f"all of {name} would be held out to be measured on, and nothing learnt from it",
            field=f"data.train.{name}", got=f"{len(apart)} document", expected="two or more",
            hint='data.unit = "section", "paragraph" or "line" cuts a .txt file into documents; '
            "data.held_out names other text to measure on; data.held_out_share = 0 holds out none",
        )  # fmt: skip


def _lowest(source: Source, share: float, most: int) -> list[str]:
    """This share of the documents, but FEWEST or a fifth of a small source, and at most so many:
    those that draw the lowest numbers."""
    kept: list[tuple[float, str]] = []
    seen: set[float] = set()
    for one in _documents(source):
        draw = _draw(one.text)
        if draw not in seen:
            seen.add(draw)
            heapq.heappush(kept, (-draw, one.text))
            if len(kept) > most:
                heapq.heappop(kept)
    count = max(math.ceil(share * len(seen)), min(FEWEST, len(seen) // 5))
    return [text for _, text in sorted(kept, reverse=True)[:count]]


def _draw(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") % DIGITS / DIGITS


@dataclass(frozen=True)
class HeldOut:
    """A pipeline's step that leaves out what is measured on."""

    texts: frozenset[str]
    name: str = "held out"

    def __call__(self, document: Document) -> Document | str:
        return "held-out" if document.text in self.texts else document


def _documents(source: Source) -> Iterator[Document]:
    return (one for one in Pipeline(source) if one.text.strip())


def _training(source: Source, held_out: list[str]) -> Pipeline:
    return Pipeline(source, (HeldOut(frozenset(held_out)),))


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
    request = _request(config, texts, held_out)
    if not folder.exists():
        learnt = train(
            (one.text for name in texts for one in _training(texts[name], held_out.get(name, []))),
            config.tokenizer.kind,
            config.tokenizer.vocabulary,
            progress=progress,
        )
        with store.new_folder(folder) as inside:
            learnt.tokenizer.to_files(inside)
            store.write_json(inside / REQUEST, {"request": request})
    store.verify(folder)
    if store.read_json(folder / REQUEST) != {"request": request}:
        raise RequestError(
            f"{folder} holds something else: a tokenizer learnt from other text or otherwise",
            field="--out",
            hint="remove it, or choose another folder",
        )
    return open_tokenizer(str(folder))


def _request(
    config: PretrainConfig, texts: dict[str, Source], held_out: dict[str, list[str]]
) -> str:
    """The digest of all that a tokenizer learnt here follows from."""
    kind, vocabulary = config.tokenizer.kind, config.tokenizer.vocabulary
    identities = {name: [source.identity(), held_out.get(name)] for name, source in texts.items()}
    return store.digest([kind, vocabulary, identities, code_hash(__name__)])


def _check_vocabulary(tokenizer: Tokenizer, stores: dict[str, TokenStore]) -> None:
    for name, one in stores.items():
        if one.header.vocabulary != tokenizer.vocabulary:
            raise DataError(
                "a token store was made with another tokenizer",
                field=f"data.train.{name}",
                got=f"{one.header.vocabulary} tokens known",
                expected=tokenizer.vocabulary,
            )
