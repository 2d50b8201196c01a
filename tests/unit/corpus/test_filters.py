"""Every rule at its threshold, by texts small enough to be counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.corpus.documents import prose
from tutelage.corpus.documents import text_document
from tutelage.corpus.filters import FILTERS, PRESETS, FilterStep, filter_steps
from tutelage.corpus.filters.c4 import C4
from tutelage.corpus.filters.repetition import repeated_runs, repeats, top_run
from tutelage.errors import ConfigError

NEEDS = {"quality": {"model": "none"}, "bad-words": {"file": "none"}}


def judge(name: str, text: str, **settings: Any) -> str | None:
    rule = FILTERS.get(name)(**settings)
    found = FilterStep(name, rule)(text_document("d", text))
    return found if isinstance(found, str) else None


def words(n: int, word: str = "word") -> str:
    """n different words."""
    return " ".join(f"{word}{chr(97 + k % 26)}{chr(97 + k // 26 % 26)}" for k in range(n))


@pytest.mark.parametrize("name", FILTERS.names())
def test_every_filter_says_where_its_rules_are_from(name: str) -> None:
    import importlib

    module = importlib.import_module(f"tutelage.corpus.filters.{name.replace('-', '_')}")
    cited = ("arXiv", "tutelage data quality", "Gopher")
    assert any(word in (module.__doc__ or "") for word in cited)
    assert FILTERS.get(name)(**NEEDS.get(name, {})).model_dump()


def test_presets_name_filters() -> None:
    for names in PRESETS.values():
        assert set(names) <= set(FILTERS.names())


@pytest.mark.parametrize(
    ("count", "reason"),
    [(49, "too-few-words"), (50, None), (100_000, None), (100_001, "too-many-words")],
)
def test_length(count: int, reason: str | None) -> None:
    assert judge("length", "a " * count) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (words(18) + " #a #b", None),
        (words(18) + " #a #b ##", "too-many-hashes"),
        ("a... b… " + words(18), None),
        ("a... b… c... " + words(18), "too-many-ellipses"),
        ("\n".join([f"• {words(9)}"] * 9 + [words(9)]), None),
        ("\n".join([f"- {words(9)}"] * 10), "too-many-bullets"),
        ("\n".join([f"{words(11)}..."] * 3 + [words(11)] * 7), None),
        ("\n".join([f"{words(11)}..."] * 4 + [words(11)] * 6), "too-many-ellipsis-lines"),
    ],
)
def test_symbols(text: str, reason: str | None) -> None:
    assert judge("symbols", text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("the and " + "abcdefghij " * 20, None),
        ("the and " + "abcdefghijkl " * 20, "words-too-long"),
        ("to of " + "ab. " * 20, "words-too-short"),
        ("the that " + "with " * 14 + "1984 " * 4, None),
        ("the that " + "with " * 13 + "1984 " * 5, "too-few-letters"),
        ("The other words of", None),
        ("The other words stand", "no-stop-words"),
        ("... !!!", "words-too-short"),
    ],
)
def test_words(text: str, reason: str | None) -> None:
    assert judge("words", text) == reason


def test_repeats_by_hand() -> None:
    assert repeats(["aa", "bb", "aa", "aa"]) == (2 / 4, 4 / 8)
    # "ab cd" stands twice among 14 letters: 2 * 4 / 14.
    assert top_run(["ab", "cd", "ef", "ab", "cd", "xx", "y", "z"], 2) == pytest.approx(8 / 14)
    assert top_run(["a", "b", "c", "d"], 2) == 0
    # Of the second "a b c d e f" six letters repeat, in runs of five that overlap; of 13.
    run = ["a", "b", "c", "d", "e", "f"]
    assert repeated_runs([*run, "g", *run], 5) == pytest.approx(6 / 13)
    assert repeated_runs([*run, "g", *run], 7) == 0 and repeated_runs(run[:3], 5) == 0


def parts(count: int, repeated: int) -> list[str]:
    different = [prose(n, 12) for n in range(count - repeated)]
    return [*different, *[different[0]] * repeated]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (prose(1, 300), None),
        ("\n\n".join(parts(20, 1)), None),
        ("\n\n".join(parts(10, 4)), "repeated-paragraphs"),
        ("\n".join(parts(10, 4)), "repeated-lines"),
        (prose(1, 60) + " buy now here" * 20, "one-phrase-over-and-over"),
        (prose(1, 60) + " " + prose(2, 14) + " and " + prose(2, 14), "repeated-phrases"),
    ],
)
def test_repetition(text: str, reason: str | None) -> None:
    assert judge("repetition", text) == reason


SENTENCES = "This is one sentence of words. Here is another one of them! And is this the third?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SENTENCES, None),
        ("This is one sentence of words. Here is another one of them!", "too-few-sentences"),
        (f"{SENTENCES} Lorem ipsum dolor sit.", "lorem-ipsum"),
        (f"{SENTENCES} x = {{1}}.", "curly-bracket"),
        ("Home\nAbout us\nContact", "empty-text"),
    ],
)
def test_c4(text: str, reason: str | None) -> None:
    found = judge("c4", text)
    assert found == ("too-few-sentences" if reason == "empty-text" else reason)


def test_c4_takes_lines_away() -> None:
    kept = ["The first line is a whole sentence.", 'He said: "Here is the second one."']
    gone = [
        "No mark at the end of this",
        "Too short a line.",
        "Please enable Javascript to see this page.",
        "By going on you accept our cookie policy here.",
        f"A word of many letters: {'x' * 1001} is none.",
        "Read more about this subject here...",
    ]
    text = "\n".join([kept[0], *gone, kept[1] + "[12]", "A citation stands at its end. [edit]"])
    # A mark of citation is taken away before the end of the line is looked at.
    assert C4().clean(text).splitlines() == [*kept, "A citation stands at its end."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n".join(f"{words(8)} {n}." for n in range(20)), None),
        ("\n".join(f"{words(8)} {n}" for n in range(20)), "lines-without-punctuation"),
        ("\n".join([f"{words(8)}."] * 3 + [f"{words(8, 'x')}, {n}." for n in range(9)]),
         "repeated-line-characters"),
        ("\n".join(f"Short line {n}." for n in range(20)), "short-lines"),
        ("One short line.", None),
    ],
)  # fmt: skip
def test_fineweb(text: str, reason: str | None) -> None:
    assert judge("fineweb", text) == reason


def test_language() -> None:
    pytest.importorskip("py3langid")
    german = "Der Fluss lief an einer stillen Stadt vorbei, und am Abend brannten die Lampen."
    assert judge("language", german) == "other-language"
    assert judge("language", german, keep="de,fr") is None
    assert judge("language", prose(1)) is None
    assert judge("language", prose(1), min_probability=1.01) == "language-unsure"


def test_toxicity_counts_passages() -> None:
    pytest.importorskip("profanity_check")
    insult = "You are a fucking idiot and a bastard."
    assert judge("toxicity", insult) == "toxic"
    assert judge("toxicity", prose(1)) is None
    quarrel = " ".join([*(prose(n, 100) for n in range(30)), *[insult] * 25])
    assert judge("toxicity", quarrel) is None
    assert judge("toxicity", quarrel, max_share=0.0) == "toxic"


def test_bad_words_are_whole_words(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Ass\n\nTwo  words\n")
    assert judge("bad-words", "An ass, he said.", file=str(file)) == "bad-word"
    assert judge("bad-words", "Here TWO\nwords stand.", file=str(file)) == "bad-word"
    assert judge("bad-words", "The class passed; Scunthorpe too.", file=str(file)) is None
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(ConfigError):
            judge("bad-words", "x", file=str(tmp_path / name))


def test_a_filter_that_needs_a_setting_says_how_to_give_it() -> None:
    with pytest.raises(ConfigError) as caught:
        filter_steps(["quality"], {})
    assert caught.value.field == "quality: model" and "--set quality." in (caught.value.hint or "")
