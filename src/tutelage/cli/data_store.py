"""`tutelage data mix` and `tokenize`: from documents to what a model is trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tutelage.cli.data_run import (
    Json,
    Names,
    Reading,
    Repeated,
    check_out,
    counts_of,
    entries,
    notes,
    open_sources,
    show,
)
from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.corpus.mix import Share

_NAMED = re.compile(r"([\w-]+)=(.+)")


def mix(
    data: Names,
    *,
    out: Path | None = None,
    weight: Repeated = (),
    preset: Literal["domain-51"] | None = None,
    temperature: float = 1.0,
    epochs: float = 1.0,
    total: float | None = None,
    reading: Reading | None = None,
    shared: Shared | None = None,
) -> Json:
    """Mix sources by weight into one corpus, none repeated more often than allowed.

    Parameters
    ----------
    data
        The sources, as NAME=DATA or DATA, which is named by its file.
    out
        A file NAME.jsonl, or a folder; without it the shares are computed only.
    weight
        A source's weight, NAME=NUMBER; its size if none is given.
    preset
        domain-51: 51% of the source named domain, 49% of the one named general.
    temperature
        Evens the weights out: each to the power of 1/T.
    epochs
        How often a source may be read at most.
    total
        Bytes of text wanted; as many as the shares and the epochs allow if not given.
    """
    shared = shared or Shared()
    from tutelage.corpus import blend, funnel, output
    from tutelage.corpus.mix import plan

    named = _named(data)
    check_out(out, list(named.values()))
    sources = open_sources(list(named.values()), reading)
    bar = progress(shared)
    measured = [blend.measure(n, s, bar) for n, s in zip(named, sources, strict=True)]
    shares = plan(
        {one.name: one.size for one in measured},
        weights=_weights(weight, preset),
        temperature=temperature,
        max_epochs=epochs,
        total=total,
    )
    blended = blend.Blend(measured, shares, shared.seed or 0, bar)

    def taken() -> list[Json]:
        total = sum(blended.written.values())
        return [_share(share, blended.written[share.name], total) for share in shares]

    def report() -> Json:
        names, said = list(named.values()), notes(sources)
        return funnel.funnel("mix", names, blended.tallies, {"shares": taken()}, said)

    if out is None:
        for _ in blended:
            pass
    else:
        output.write_documents(blended, out, report)
    return {
        **counts_of([tally.as_json() for tally in blended.tallies], out),
        "shares": taken(),
        "report": None if out is None else str(funnel.beside(out).with_suffix(".html")),
        "notes": notes(sources),
    }


def tokenize(
    data: Names,
    *,
    tokenizer: str,
    out: Path,
    end: str | None = None,
    shard_tokens: int | None = None,
    reading: Reading | None = None,
    shared: Shared | None = None,
) -> Json:
    """Store text as tokens, for pretraining. Killed, it goes on.

    Parameters
    ----------
    data
        Text: .txt .jsonl .csv .parquet .warc .wet, gzipped or not, folders of them, hf:, builtin:.
    tokenizer
        A folder that `tokenizer train` wrote, or any model source: its tokenizer.
    out
        The folder to write; must not exist.
    end
        The token after each document; the tokenizer's end of text if not given.
    shard_tokens
        Tokens of one file; 2^24 if not given.
    """
    from tutelage.corpus import funnel
    from tutelage.corpus.layout import SHARD_TOKENS
    from tutelage.corpus.pipeline import Pipeline
    from tutelage.corpus.tokenize import Request, end_token
    from tutelage.corpus.tokenize import tokenize as store_tokens
    from tutelage.tokenizers.open import open_tokenizer

    found = open_tokenizer(tokenizer)
    sources = open_sources(data, reading)
    request = Request(
        found,
        [source.identity() for source in sources],
        end_token(found, end),
        SHARD_TOKENS if shard_tokens is None else shard_tokens,
    )
    pipeline = Pipeline(entries(sources))

    def report() -> Json:
        names = [source.name for source in sources]
        settings = {"tokenizer": tokenizer, "vocabulary": found.vocabulary, "end": request.end}
        return funnel.funnel("tokenize", names, pipeline.tallies, settings, notes(sources))

    header = store_tokens(pipeline, request, out, report, progress(shared))
    return {
        **_stored_counts(out),
        "tokens": header.tokens,
        "text_bytes": header.text_bytes,
        "bytes_per_token": header.text_bytes / header.tokens,
        "vocabulary": header.vocabulary,
        "shards": len(header.shards),
        "notes": notes(sources),
    }


def show_mix(result: Json) -> None:
    """Print what was taken of each source."""
    for share in result["shares"]:
        print(
            f"{share['name']}: {share['bytes'] / 1e6:,.1f} MB, {share['share']:.1%}, "
            f"{share['epochs']:.2f} epochs"
        )
    show(result)


def show_tokenize(result: Json) -> None:
    show(result)
    print(
        f"{result['tokens']:,} tokens of a vocabulary of {result['vocabulary']:,}, "
        f"{result['bytes_per_token']:.2f} bytes each, in {result['shards']} shards"
    )


def _named(data: Sequence[str]) -> dict[str, str]:
    """Name -> source. Raises ConfigError where two have one name."""
    found: dict[str, str] = {}
    for one in data:
        match = None if Path(one).exists() else _NAMED.fullmatch(one)
        name, source = match.groups() if match else (_stem(one), one)
        if name in found:
            raise ConfigError(
                f"two sources are named {name!r}",
                field="DATA",
                got=f"{found[name]} and {source}",
                hint="name them with NAME=DATA",
            )
        found[name] = source
    return found


def _stem(source: str) -> str:
    scheme, _, rest = source.rpartition(":")
    return rest if scheme else Path(source).name.partition(".")[0]


def _weights(given: Sequence[str], preset: str | None) -> dict[str, float] | None:
    """The weights asked for; None for the sources' own sizes."""
    from tutelage.corpus.mix import PRESETS

    if given and preset:
        raise ConfigError("--weight and --preset contradict each other", field="--weight, --preset")
    if preset:
        return dict(PRESETS[preset])
    found = {}
    for one in given:
        name, _, number = one.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise ConfigError(
                f"{one!r} is no weight", field="--weight", got=one, expected="NAME=NUMBER"
            ) from None
    return found or None


def _share(share: Share, written: int, total: int) -> Json:
    return {
        "name": share.name,
        "size": share.size,
        "bytes": written,
        "share": written / total,
        "epochs": written / share.size,
    }


def _stored_counts(out: Path) -> Json:
    """What the funnel of a store says of its last command: the same for a store that was there."""
    from tutelage.corpus import funnel

    steps = funnel.history(str(out))[-1]["steps"]
    return counts_of(steps, out)
