"""Every document is counted: let through, changed, or left out for one reason."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.corpus.documents import documents, jsonl, prose
from tutelage.corpus import funnel, output
from tutelage.corpus.dedup import Exact, Near
from tutelage.corpus.documents import Document, text_document
from tutelage.corpus.filters import PRESETS, FilterStep, filter_steps, parse_settings
from tutelage.corpus.filters.length import Length
from tutelage.corpus.pipeline import Pipeline
from tutelage.corpus.sources import open_source
from tutelage.corpus.tokenize import Request, end_token, tokenize
from tutelage.data.rows import SetAside
from tutelage.errors import ConfigError, UnknownName
from tutelage.text.byte_level import byte_tokenizer


class Shout:
    name = "shout"

    def __call__(self, document: Document) -> Document | str:
        return document.changed(str.upper)


class Empty:
    name = "empty"

    def __call__(self, document: Document) -> Document | str:
        return document.changed(lambda text: "")


def test_rows_in_are_rows_out_and_reasons() -> None:
    entries = [SetAside("f:1", "bad-json", "x"), *documents(3), text_document("short", "A b c.")]
    pipeline = Pipeline(entries, [FilterStep("length", Length()), Shout()])
    kept = list(pipeline)
    read, length, shout = pipeline.tallies
    assert [one.id for one in kept] == ["d0", "d1", "d2"] and kept[0].text.isupper()
    assert (read.rows_in, read.rows_out, read.reasons) == (5, 4, {"bad-json": 1})
    assert (length.rows_in, length.rows_out, length.reasons) == (4, 3, {"too-few-words": 1})
    assert (shout.rows_in, shout.rows_out, shout.changed) == (3, 3, 3)
    assert length.characters_in - length.characters_out == len("A b c.")
    assert length.examples == {"too-few-words": [{"where": "short", "text": "A b c."}]}


def test_a_text_of_which_nothing_is_left_is_left_out() -> None:
    pipeline = Pipeline(documents(2), [Empty()])
    assert list(pipeline) == [] and pipeline.tallies[1].reasons == {"empty-text": 2}


@pytest.mark.parametrize("name", ["out.jsonl", "out"])
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    pipeline = Pipeline(documents(5))
    output.write_documents(pipeline, out, lambda: funnel.funnel("x", ["s"], pipeline.tallies, {}))
    again = list(open_source(str(out)))
    assert [one.text for one in again if isinstance(one, Document)] == [
        one.text for one in documents(5)
    ]
    page = funnel.beside(out).with_suffix(".html").read_text()
    assert "data x: s" in page and "http" not in page.replace("http-equiv", "")


def test_a_folder_is_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MOST_BYTES", 2000)
    output.write_documents(documents(9), tmp_path / "out", lambda: {"commands": []})
    assert len(list((tmp_path / "out").glob("documents-*.jsonl"))) >= 4
    assert len(list(open_source(str(tmp_path / "out")))) == 9


def test_history_is_handed_on(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b"
    one = Pipeline(documents(3))
    output.write_documents(one, first, lambda: funnel.funnel("filter", ["s"], one.tallies, {}))
    two = Pipeline(open_source(str(first)))
    output.write_documents(
        two, second, lambda: funnel.funnel("dedup", [str(first)], two.tallies, {})
    )
    assert [command["verb"] for command in funnel.history(str(second))] == ["filter", "dedup"]
    assert funnel.history("builtin:stdlib-docs") == []


def test_reports_escape_what_texts_say(tmp_path: Path) -> None:
    pipeline = Pipeline([text_document("<b>", "<script>alert(1)</script>")], [Empty()])
    list(pipeline)
    page = funnel.render(funnel.funnel("x", ["<i>"], pipeline.tallies, {}))
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert "&lt;script&gt;" in page


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [prose(1)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for out in ("in.jsonl", "mine", "x.parquet"):
        with pytest.raises(ConfigError) as caught:
            output.check_out(tmp_path / out, [source])
        assert caught.value.field == "--out"
    (tmp_path / "empty").mkdir()
    for out in ("new", "new.jsonl", "empty"):
        output.check_out(tmp_path / out, [source])
        output.write_documents(documents(1), tmp_path / out, lambda: {"commands": []})
        output.check_out(tmp_path / out, [source])


def test_what_is_read_is_never_replaced(tmp_path: Path) -> None:
    output.write_documents(documents(2), tmp_path / "a", lambda: {"commands": []})
    for source in (tmp_path / "a", tmp_path / "a" / "documents-00000.jsonl"):
        with pytest.raises(ConfigError, match="is what is read"):
            output.check_out(tmp_path / "a", [str(source)])


@pytest.mark.parametrize("name", ["out", "out.jsonl"])
def test_killed_at_any_durable_operation_old_or_new_is_there(
    name: str, tmp_path: Path, root: Path
) -> None:
    out = tmp_path / name
    command = [sys.executable, "-m", "tests.unit.corpus.killed_writer", str(out), "24"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert counts[0] == 2 and counts[-1] == 3 and set(counts) == {2, 3}
    assert counts == sorted(counts), "what is new stays"
    output.write_documents(documents(4), out, lambda: {"commands": []})
    assert len(list(open_source(str(out)))) == 4
    assert not (tmp_path / f"{name}.state").exists()


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"text": "a"}, {"text": ')
    for out in (tmp_path / "out", tmp_path / "out.jsonl"):
        with pytest.raises(Exception, match="not readable JSON"):
            output.write_documents(
                Pipeline(open_source(str(tmp_path / "bad.json"))), out, lambda: {"commands": []}
            )
    assert [file.name for file in tmp_path.iterdir()] == ["bad.json"]


def test_few_documents_are_held_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def entries() -> Iterator[Document]:
        nonlocal alive, most
        for number in range(200):
            one = text_document(f"d{number}", prose(number))
            weakref.finalize(one, gone)
            alive += 1
            most = max(most, alive)
            yield one

    steps = [*filter_steps(PRESETS["web"], {}), Exact(), Near(folder=tmp_path)]
    pipeline = Pipeline(entries(), steps)
    output.write_documents(pipeline, tmp_path / "out.jsonl", lambda: {"commands": []})
    assert pipeline.tallies[-1].rows_out == 200 and most <= 3
    request = Request(byte_tokenizer(), 0, end_token(byte_tokenizer()), 1000)
    most = 0
    tokenize(entries(), request, tmp_path / "store", lambda: {"commands": []})
    assert 0 < most <= 3


def test_settings_are_typed_and_checked() -> None:
    settings = parse_settings(["length.min_words=20", "words.stop_words=['le', 'la']", "a.b=c d"])
    assert settings == {
        "length": {"min_words": 20},
        "words": {"stop_words": ["le", "la"]},
        "a": {"b": "c d"},
    }
    (step,) = filter_steps(["length"], {"length": {"min_words": 2}})
    assert step.rule == Length(min_words=2)
    for names, given in (
        (["length"], {"length": {"min_word": 2}}),
        (["length"], {"length": {"min_words": "many"}}),
        (["length"], {"words": {"min_stop_words": 1}}),
    ):
        with pytest.raises(ConfigError):
            filter_steps(names, given)
    with pytest.raises(UnknownName, match="lenght"):
        filter_steps(["lenght"], {})
    with pytest.raises(ConfigError):
        parse_settings(["min_words=3"])


def test_output_is_strict_json(tmp_path: Path) -> None:
    output.write_documents(documents(2), tmp_path / "a.jsonl", lambda: {"commands": []})
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows[0] == {"id": "d0", "text": prose(0)}
