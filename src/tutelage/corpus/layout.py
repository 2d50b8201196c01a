"""A token store on disk: one long stream of tokens in shards, and where its documents end.

    STORE/
      store.json          the Header: number of tokens, width, vocabulary, shards
      shard-00000.bin     tokens, little-endian, 2 or 4 bytes each; every shard but the last is full
      shard-00000.ends    for each document that ends in the shard, the position after its end token
                          in the whole stream, little-endian, 8 bytes each
      tokenizer/          the tokenizer that made it, as Hugging Face's files
      funnel.json .html   where the text came from
      manifest.json       sizes and SHA-256 of all files

Token p of the stream stands in shard p // shard_tokens, whatever documents there are, so any place
is found without an index. Documents run on from one shard into the next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.config import Frozen
from tutelage.errors import DamagedError, DataError

HEADER = "store.json"
TOKENIZER = "tokenizer"
FORMAT = 1
SHARD_TOKENS = 2**24
END_DTYPE = "<u8"


class Shard(Frozen):
    """One file of tokens."""

    tokens: int
    documents: int
    """Documents that end in it."""


class Header(Frozen):
    """What a store holds."""

    format: int = FORMAT
    tokens: int
    documents: int
    text_bytes: int
    """UTF-8 bytes of the texts, without end tokens: the unit of bits per byte."""
    dtype: str
    """<u2 where the vocabulary has at most 65,536 tokens, else <u4."""
    vocabulary: int
    end: int
    """The token after each document."""
    shard_tokens: int
    shards: tuple[Shard, ...]


def dtype_for(vocabulary: int) -> str:
    return "<u2" if vocabulary <= 2**16 else "<u4"


def shard_name(number: int) -> str:
    return f"shard-{number:05}.bin"


def ends_name(number: int) -> str:
    return f"shard-{number:05}.ends"


def is_store(path: Path) -> bool:
    return (path / HEADER).is_file()


def read_header(path: Path) -> Header:
    """The header of a store. Raises DataError where there is none, DamagedError where it is not
    one of this format."""
    file = path / HEADER
    if not file.is_file():
        raise DataError(
            f"{path} is no token store",
            field=str(path),
            expected=f"a folder with {HEADER}",
            hint="make one with: tutelage data tokenize DATA --tokenizer MODEL --out DIR",
        )
    found: Any = store.read_json(file)
    try:
        header = Header.model_validate(found)
    except ValueError:
        header = None
    if header is None or header.format != FORMAT or not _adds_up(header):
        raise DamagedError(f"{file} is damaged", field=str(file), expected=f"format {FORMAT}")
    return header


def _adds_up(header: Header) -> bool:
    *full, last = header.shards or (Shard(tokens=0, documents=0),)
    return (
        header.tokens == sum(shard.tokens for shard in header.shards)
        and header.documents == sum(shard.documents for shard in header.shards)
        and all(shard.tokens == header.shard_tokens for shard in full)
        and last.tokens <= header.shard_tokens
        and header.dtype == dtype_for(header.vocabulary)
    )
