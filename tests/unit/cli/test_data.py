"""`tutelage data`: every verb's object, where rows in are rows out and the sum of the reasons."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.corpus.documents import jsonl, prose
from tutelage.cli.main import run_command
from tutelage.corpus.tokens import TokenStore, Windows
from tutelage.text.byte_level import byte_tokenizer

pytest.importorskip("rensa")
TEXTS = [prose(n) for n in range(30)]
Json = dict[str, Any]


def data(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Json:
    """The one object that a verb prints."""
    assert run_command(["data", *arguments, "--json"]) == code, capsys.readouterr().err
    found: Json = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    if code == 0 and "rows_in" in found:
        assert found["rows_in"] == found["rows_out"] + sum(found["reasons"].values())
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """Thirty texts, a short one, a repeat, a near-repeat and a line that is no row."""
    texts = [*TEXTS, "Too short.", TEXTS[3].upper(), TEXTS[4].replace("town", "city")]
    path = jsonl(tmp_path / "in.jsonl", texts)
    with Path(path).open("a") as file:
        file.write("no row\n")
    return path


def test_inspect(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "inspect", corpus)
    assert (found["rows_in"], found["rows_out"], found["out"]) == (34, 33, None)
    assert found["reasons"] == {"bad-json": 1}
    assert found["exact_duplicates"] == 1 and found["words"] > 30 * 120
    assert found["words_per_document"]["0"] == 2 and found["bytes"] >= found["characters"]


def test_data_can_be_named_by_place_or_by_flag(
    corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data(capsys, "inspect", "--data", corpus) == data(capsys, "inspect", corpus)
    both = data(capsys, "inspect", corpus, "builtin:stdlib-docs")
    assert both["rows_in"] > 34 + 50 and len(both["notes"]) == 1


@pytest.mark.parametrize("out", ["kept.jsonl", "kept"])
def test_filter(out: str, corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "filter", corpus, "--out", str(tmp_path / out))
    assert found["rows_out"] == 32 and found["reasons"] == {"bad-json": 1, "too-few-words": 1}
    assert found["out"] == str(tmp_path / out) and Path(found["report"]).is_file()
    assert [step["name"] for step in found["steps"]] == [
        "read", "length", "symbols", "words", "repetition",
    ]  # fmt: skip
    assert data(capsys, "inspect", found["out"])["rows_out"] == 32


def test_filter_without_out_only_counts(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    found = data(
        capsys, "filter", corpus, "--preset", "none", "--use", "length", "--set",
        "length.min_words=2", "--set", "length.max_words=125",
    )  # fmt: skip
    assert found["out"] is None and sorted(tmp_path.iterdir()) == before
    assert 0 < found["reasons"]["too-many-words"] < 30 and "too-few-words" not in found["reasons"]


def test_filter_masks_personal_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = jsonl(tmp_path / "in.jsonl", [f"{TEXTS[0]} Write to a.b@mail.org."])
    out = tmp_path / "out.jsonl"
    found = data(capsys, "filter", source, "--mask-personal-data", "--out", str(out))
    assert found["masked"] == {"email": 1} and found["rows_out"] == 1
    assert "a.b@mail.org" not in out.read_text() and "[EMAIL]" in out.read_text()
    assert data(capsys, "filter", source)["masked"] is None


def test_dedup(corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, "dedup", corpus)
    assert found["reasons"] == {"bad-json": 1, "exact-duplicate": 1, "near-duplicate": 1}
    exact = data(capsys, "dedup", corpus, "--exact-only")
    assert exact["reasons"] == {"bad-json": 1, "exact-duplicate": 1}
    strict = data(capsys, "dedup", corpus, "--threshold", "1")
    assert "near-duplicate" not in strict["reasons"]


def test_contamination(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = tmp_path / "test.jsonl"
    rows = [{"question": " ".join(TEXTS[7].split()[10:40])}, {"question": prose(900)}]
    items.write_text("\n".join(map(json.dumps, rows)))
    arguments = ["contamination", corpus, "--against", str(items), "--against-field", "question"]
    found = data(capsys, *arguments, "--out", str(tmp_path / "clean.jsonl"))
    assert found["reasons"] == {"bad-json": 1, "contaminated-n-gram": 1}
    assert (found["items"], found["items_found"], found["items_too_short"]) == (2, 1, 0)
    assert found["found"] == [{"item": "test.jsonl:1", "document": "d7", "kind": "n-gram"}]
    items.write_text("no row\n")
    error = data(capsys, *arguments, code=2)["error"]
    assert error["field"] == "--against"


def test_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    domain = jsonl(tmp_path / "a.jsonl", TEXTS[:10])
    general = jsonl(tmp_path / "b.jsonl", TEXTS[10:])
    out = str(tmp_path / "mixed.jsonl")
    named = [f"domain={domain}", f"general={general}"]
    found = data(capsys, "mix", *named, "--preset", "domain-51", "--out", out)
    assert found["rows_in"] == 30 and found["out"] == out
    shares = {share["name"]: share for share in found["shares"]}
    assert shares["domain"]["share"] == pytest.approx(0.51, abs=0.04)
    assert shares["domain"]["epochs"] == 1
    weighed = data(
        capsys, "mix", domain, general, "--weight", "a=3", "--weight", "b=1", "--epochs", "2",
        "--temperature", "1",
    )  # fmt: skip
    shares = {share["name"]: share for share in weighed["shares"]}
    assert shares["a"]["epochs"] == 2 and shares["a"]["share"] == pytest.approx(0.75, abs=0.03)
    for wrong in (["--weight", "a=x"], ["--weight", "c=1"], ["--preset", "domain-51"],
                  ["--weight", "a=1", "--preset", "domain-51"]):  # fmt: skip
        assert data(capsys, "mix", domain, general, *wrong, code=2)["error"]["kind"] == "config"
    assert (
        data(capsys, "mix", domain, domain, code=2)["error"]["hint"] == "name them with NAME=DATA"
    )


def test_tokenize_and_read_again(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    byte_tokenizer().to_files(tmp_path / "tokenizer")
    arguments = ["tokenize", corpus, "--tokenizer", str(tmp_path / "tokenizer"), "--out"]
    out = str(tmp_path / "store")
    found = data(capsys, *arguments, out, "--shard-tokens", "5000")
    assert (found["rows_in"], found["rows_out"], found["out"]) == (34, 33, out)
    stream = TokenStore(Path(out))
    assert len(stream) == found["tokens"] and found["shards"] == -(-len(stream) // 5000)
    assert found["bytes_per_token"] == pytest.approx(found["text_bytes"] / found["tokens"])
    assert len(Windows(stream, 128)[3]) == 129
    assert data(capsys, *arguments, out, "--shard-tokens", "5000") == found, "it is there already"
    other = data(capsys, *arguments, out, "--shard-tokens", "6000", code=2)
    assert other["error"]["field"] == "--out"
    shard = Path(out) / "shard-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    damaged = data(capsys, *arguments, out, "--shard-tokens", "5000", code=1)
    assert damaged["error"]["kind"] == "damaged" and damaged["error"]["field"] == str(shard)


def test_tokenize_takes_the_tokenizer_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = jsonl(tmp_path / "in.jsonl", ["Hé!"])
    found = data(
        capsys, "tokenize", source, "--tokenizer", "preset:llama-tiny", "--out",
        str(tmp_path / "s"),
    )  # fmt: skip
    assert (found["tokens"], found["text_bytes"]) == (5, 4)
    tokens = TokenStore(tmp_path / "s").slice(0, 5)
    assert np.array_equal(tokens[:4], list("Hé!".encode()))


def test_quality_is_trained_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = jsonl(tmp_path / "good.jsonl", TEXTS)
    bad = jsonl(tmp_path / "bad.jsonl", [f"Buy pills {n} casino now {n} cheap!" for n in range(30)])
    out = str(tmp_path / "classifier")
    found = data(capsys, "quality", "--good", good, "--bad", bad, "--out", out)
    assert found["auc"]["value"] == 1 and found["rows"] == {"good": 30, "bad": 30, "held_out": 12}
    used = ["--preset", "none", "--use", "quality", "--set", f"quality.model={out}"]
    assert data(capsys, "filter", good, bad, *used)["reasons"] == {"low-quality": 30}
    toxic = ["--preset", "none", "--use", "toxicity", "--set", f"toxicity.model={out}"]
    assert data(capsys, "filter", good, bad, *toxic)["reasons"] == {"toxic": 30}
    assert data(capsys, "quality", "--good", good, "--bad", bad, "--out", out) == found
    missing = ["--preset", "none", "--use", "quality", "--set", "quality.model=nowhere"]
    assert (
        "tutelage data quality" in data(capsys, "filter", good, *missing, code=2)["error"]["hint"]
    )


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("rensa", ["dedup"], "corpus"),
        ("py3langid.langid", ["filter", "--preset", "none", "--use", "language"], "corpus"),
        ("profanity_check", ["filter", "--preset", "none", "--use", "toxicity"], "toxicity"),
    ],
)
def test_what_is_not_installed_is_asked_for(
    module: str, arguments: list[str], extra: str, corpus: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from tutelage.corpus.filters import language

    language._classifier.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    error = data(capsys, *arguments, corpus, code=2)["error"]
    assert error["hint"] == f"pip install 'tutelage[{extra}]'"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["filter", "--use", "lenght"], "--use"),
        (["filter", "--set", "length.min=3"], "length: min"),
        (["filter", "--set", "nonsense"], "--set"),
        (["filter", "--use", "quality"], "quality: model"),
        (["filter", "--out", "x.csv"], "--out"),
        (["dedup", "--threshold", "0.1"], "--threshold"),
        (["tokenize", "--tokenizer", "preset:llama-tiny", "--out", "s", "--end", "[NO]"], "--end"),
        (["tokenize", "--tokenizer", "preset:llama-tiny", "--out", "s", "--shard-tokens", "0"],
         "--shard-tokens"),
    ],
)  # fmt: skip
def test_wrong_requests_name_the_flag(
    arguments: list[str], field: str, corpus: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    assert data(capsys, verb, corpus, *rest, code=2)["error"]["field"] == field
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


AGAINST = ("--against", "builtin:stdlib-docs")


@pytest.mark.parametrize(
    "arguments",
    [["filter"], ["dedup"], ["dedup", "--exact-only"], ["mix"], ["contamination", *AGAINST],
     ["tokenize", "--tokenizer", "preset:llama-tiny"], ["quality", "--good"]],
)  # fmt: skip
@pytest.mark.parametrize("inside", ["", "x"])
def test_a_place_that_cannot_be_is_refused_before_anything_is_read(
    arguments: list[str], inside: str, corpus: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A file stands where the answer, or its folder, is to be."""
    taken = tmp_path / "notes"
    taken.write_text("mine")
    more = ["--bad", corpus] if arguments[0] == "quality" else []
    error = data(capsys, *arguments, corpus, *more, "--out", str(taken / inside), code=2)["error"]
    assert error["field"] == "--out" and str(taken) in error["message"]
    assert taken.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "notes"]


@pytest.mark.parametrize(
    "arguments", [["inspect"], ["filter"], ["dedup"], ["mix"], ["contamination", *AGAINST]]
)
def test_people_get_a_page(
    arguments: list[str], corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["data", arguments[0], corpus, *arguments[1:]]) == 0
    assert "documents" in capsys.readouterr().out


def test_a_real_corpus_from_text_to_windows(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books = str(shared_data / "standard_ebooks" / "alice.txt")
    kept, once = str(tmp_path / "kept"), str(tmp_path / "once")
    filtered = data(capsys, "filter", books, "--unit", "line", "--out", kept)
    unique = data(capsys, "dedup", kept, "--out", once)
    assert filtered["rows_in"] > 900 and unique["rows_in"] == filtered["rows_out"]
    items = str(shared_data / "gsm8k" / "test.jsonl")
    clean = data(capsys, "contamination", once, "--against", items, "--against-field", "question")
    assert clean["reasons"] == {} and clean["items"] == 1319
    byte_tokenizer().to_files(tmp_path / "tokenizer")
    stored = data(
        capsys, "tokenize", once, "--tokenizer", str(tmp_path / "tokenizer"), "--out",
        str(tmp_path / "store"),
    )  # fmt: skip
    assert stored["rows_out"] == unique["rows_out"] and stored["text_bytes"] > 50_000
    history = json.loads((tmp_path / "store" / "funnel.json").read_text())["commands"]
    assert [command["verb"] for command in history] == ["filter", "dedup", "tokenize"]
