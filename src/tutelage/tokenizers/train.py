"""A tokenizer learnt from texts: control tokens, sentinels, and as many tokens as are asked for.

    trained = train(texts, "bpe", 8000)
    save(trained.tokenizer, Path("mine"))

The same texts give the same tokenizer, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tutelage import store
from tutelage.errors import ConfigError, DataError, RequestError
from tutelage.progress import Progress, silent
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers import KINDS
from tutelage.tokenizers._kind import Base, Kind
from tutelage.tokenizers.sentinels import in_order_of_ids

_RUN = re.compile(r"\S{100}(?=\S)")
"""Runs without white space are learnt from in parts: the time a word takes grows with the square of
its length, and what is that long (sequences of genes, encoded files) is no word."""


@dataclass(frozen=True)
class Trained:
    """A tokenizer, and sentences on what the user should know of it."""

    tokenizer: Tokenizer
    notes: tuple[str, ...]


def train(
    texts: Iterable[str],
    kind: str,
    vocabulary: int,
    *,
    special: Sequence[str] = (),
    sentinels: int | None = None,
    progress: Progress = silent,
) -> Trained:
    """Learn a tokenizer of at most `vocabulary` tokens, control tokens and sentinels counted in.

    `special` are control tokens beyond those of the kind; `sentinels` is a number of
    `<extra_id_N>` tokens, by default the kind's. Little text may give fewer tokens: a note says so.

    Raises UnknownName for the kind, ConfigError where the vocabulary cannot hold what must be in
    it or a special token is no new one, DataError where there is no text.
    """
    entry: Kind = KINDS.get(kind, field="--kind")
    control = _control(entry, special)
    extra = in_order_of_ids(_sentinels(entry, sentinels))
    found = [_RUN.sub(r"\g<0>\n", text) for text in texts if text.strip()]
    if not found:
        raise DataError(
            "there is no text to learn from", field="--data", got="no text", expected="text"
        )
    base = entry.base(found)
    _check_room(vocabulary, control, extra, base)
    backend = entry.learn(_told(found, progress), vocabulary - len(extra), control, base)
    backend.add_special_tokens(extra)
    tokenizer = Tokenizer(backend.to_str(), entry.special)
    return Trained(tokenizer, (*base.notes, *_short(tokenizer.vocabulary, vocabulary)))


def save(tokenizer: Tokenizer, out: Path) -> None:
    """Write the folder that Hugging Face's and our own readers open, whole or not at all.

    Raises RequestError if `out` is taken, WorkError if it cannot be written.
    """
    check_free(out)
    with store.new_folder(out) as folder:
        tokenizer.to_files(folder)


def check_free(out: Path) -> None:
    """Raise RequestError unless `out` is a name that can be made, or an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RequestError(
            f"{out} exists already",
            field="--out",
            got=str(out),
            expected="a folder that does not exist yet",
            hint="choose another name; nothing is replaced",
        )
    store.check_place(out)


def _control(kind: Kind, special: Sequence[str]) -> list[str]:
    control = list(kind.control)
    for token in special:
        if not token.strip() or token in control:
            raise ConfigError(
                "a special token is blank or there already",
                field="--special",
                got=repr(token),
                expected=f"a text other than {', '.join(control)}",
            )
        control.append(token)
    return control


def _sentinels(kind: Kind, asked: int | None) -> int:
    if asked is not None and asked < 0:
        raise ConfigError(
            "the number of sentinels is negative", field="--sentinels", got=asked, expected=">= 0"
        )
    return kind.sentinels if asked is None else asked


def _check_room(vocabulary: int, control: list[str], extra: list[str], base: Base) -> None:
    twice = set(control) & set(extra)
    if twice:
        raise ConfigError(
            "a special token is a sentinel too",
            field="--special",
            got=min(twice),
            expected="--sentinels 0, or another token",
        )
    needed = len(control) + len(extra) + len(base.tokens)
    if vocabulary < needed:
        raise ConfigError(
            "the vocabulary is too small for what must be in it",
            field="--vocabulary",
            got=vocabulary,
            expected=f"at least {needed}: {len(control)} control tokens, {len(extra)} sentinels, "
            f"{len(base.tokens)} {base.what}",
        )


def _told(texts: Sequence[str], progress: Progress) -> Iterator[str]:
    for done, text in enumerate(texts, 1):
        yield text
        progress("texts learnt from", done, len(texts))


def _short(size: int, asked: int) -> tuple[str, ...]:
    if size == asked:
        return ()
    return (
        f"the text yields {size} tokens, not the {asked} asked for: nothing more in it is frequent "
        "enough to be one",
    )
