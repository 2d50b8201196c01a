"""Splits by source: disjoint, deterministic, within their sizes, and not ruled by large sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.rows import Loaded, Row
from tutelage.data.split import PARTS, Sizes, Splits, from_files, split
from tutelage.errors import DataError
from tutelage.lm import Message


def rows(sources: Iterable[tuple[str | None, int]]) -> list[Row]:
    found = []
    for source, count in sources:
        for n in range(count):
            name = f"{source}:{len(found)}:{n}"
            found.append(Row(name, name, (Message("user", name),), "x", source=source))
    return found


def sources_of(parts: Splits) -> list[set[str]]:
    return [{row.source or row.id for row in getattr(parts, part)} for part in PARTS]


COUNTS = st.lists(st.integers(1, 40), min_size=3, max_size=30)
ASKED = st.one_of(st.none(), st.integers(1, 60))


@settings(max_examples=200, deadline=None)
@given(COUNTS, ASKED, ASKED, ASKED, st.integers(0, 5))
def test_parts_are_disjoint_filled_and_within_their_sizes(
    counts: list[int], train: int | None, development: int | None, test: int | None, seed: int
) -> None:
    found = rows((f"s{n}", count) for n, count in enumerate(counts))
    parts = split(found, Sizes(train, development, test), seed)
    a, b, c = sources_of(parts)
    assert not a & b and not a & c and not b & c
    for part, most in (("train", train), ("development", development), ("test", test)):
        got = getattr(parts, part)
        assert len(got) >= 1
        assert most is None or len(got) <= most
        places = [found.index(row) for row in got]
        assert places == sorted(places)
    assert sum(len(getattr(parts, part)) for part in PARTS) + parts.unused == len(found)
    short = [n for n, m in ((train, parts.train), (test, parts.test)) if n and len(m) < n]
    assert not short or parts.notes


def test_many_rows_of_many_sources_give_exactly_the_sizes_asked_for() -> None:
    found = rows((f"s{n}", 1 + n % 9) for n in range(500))
    parts = split(found, Sizes(1000, 100, 200), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [1000, 100, 200]
    assert parts.notes == () and parts.unused == len(found) - 1300


def test_the_real_set_gives_the_sizes_of_the_contract(docstrings: Loaded) -> None:
    parts = split(docstrings.rows, Sizes(1000, 100, 200), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [1000, 100, 200]
    a, b, c = sources_of(parts)
    assert not a & b and not a & c and not b & c
    assert len(c) >= 15 and max(Counter(row.source for row in parts.test).values()) <= 40


def test_the_same_seed_gives_the_same_parts_in_any_order_of_rows() -> None:
    found = rows((f"s{n}", 3) for n in range(50))
    sizes = Sizes(60, 20, 20)
    first = split(found, sizes, 3)
    again = split(found[::-1], sizes, 3)
    assert {row.id for row in first.test} == {row.id for row in again.test}
    assert first == split(found, sizes, 3)
    other = split(found, sizes, 4)
    assert {row.source for row in first.test} != {row.source for row in other.test}


def test_huge_sources_do_not_crowd_out_the_others() -> None:
    found = rows([("huge", 3000), ("large", 1000), *((f"s{n}", 4) for n in range(100))])
    for seed in range(20):
        parts = split(found, Sizes(200, 40, 40), seed)
        assert [len(getattr(parts, part)) for part in PARTS] == [200, 40, 40]
        for part in (parts.development, parts.test):
            assert len({row.source for row in part}) >= 2
        assert max(Counter(row.source for row in parts.train).values()) < 200


def test_rows_without_a_source_are_split_one_by_one() -> None:
    parts = split(rows([(None, 1000)]), Sizes(), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [700, 100, 200]
    ids = [{row.id for row in getattr(parts, part)} for part in PARTS]
    assert len(set.union(*ids)) == 1000


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1000, (700, 100, 200)), (100, (70, 10, 20)), (10, (7, 1, 2)), (3, (1, 1, 1))],
)
def test_default_shares(count: int, expected: tuple[int, int, int]) -> None:
    parts = split(rows([(None, count)]), Sizes(), 0)
    assert tuple(len(getattr(parts, part)) for part in PARTS) == expected


def test_too_few_rows_shrink_all_parts_and_say_so() -> None:
    parts = split(rows([(None, 130)]), Sizes(1000, 100, 200), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [100, 10, 20]
    assert "100 train rows instead of 1000" in parts.notes[0]
    assert "20 test rows instead of 200" in parts.notes[0]


def test_a_part_of_size_zero_is_left_out() -> None:
    parts = split(rows([("one", 5), ("two", 5)]), Sizes(None, 0, 3), 0)
    assert parts.development == () and len(parts.test) == 3 and len(parts.train) == 5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "0 rows"),
        ([("alone", 50)], "50 rows, all of 'alone'"),
        ([("one", 5), ("two", 5)], "10 rows, all of 'one', 'two'"),
        ([(None, 2)], "2 rows"),
    ],
)
def test_too_few_sources_are_refused_by_name(
    given: list[tuple[str | None, int]], says: str
) -> None:
    with pytest.raises(DataError) as caught:
        split(rows(given), Sizes(), 0, "rows.jsonl")
    assert caught.value.field == "rows.jsonl"
    assert caught.value.got == says
    named = any(source is not None for source, _ in given)
    assert caught.value.expected == ("rows of at least 3 sources" if named else "3 rows")
    assert ("`source`" in str(caught.value.hint)) == named, "no source, none to be dropped"


def test_no_part_asked_for_is_refused() -> None:
    with pytest.raises(DataError, match="asks for rows"):
        split(rows([(None, 9)]), Sizes(0, 0, 0), 0)


def test_parts_from_files_are_kept_and_cut() -> None:
    given = {
        "train": rows([("a", 10), ("b", 10)]),
        "development": rows([("c", 4)]),
        "test": rows([("b", 6), ("d", 6)]),
    }
    parts = from_files(given, Sizes(6, None, 4), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [6, 4, 4]
    assert Counter(row.source for row in parts.train) == {"a": 3, "b": 3}
    assert Counter(row.source for row in parts.test) == {"b": 2, "d": 2}
    assert parts.unused == 14 + 8
    assert any("1 sources stand in both train and test: b." in note for note in parts.notes)


def test_a_missing_part_is_split_off_the_training_rows() -> None:
    given = {"train": rows((f"s{n}", 2) for n in range(50)), "test": rows([("t", 5)])}
    parts = from_files(given, Sizes(), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [90, 10, 5]
    assert not {r.source for r in parts.train} & {r.source for r in parts.development}


def test_files_of_one_source_each_are_allowed() -> None:
    given = {part: rows([(part, 3)]) for part in PARTS}
    parts = from_files(given, Sizes(), 0)
    assert [len(getattr(parts, part)) for part in PARTS] == [3, 3, 3]
    assert parts.notes == ()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"train": []}, "train"),
        ({"test": rows([("a", 1)])}, "train"),
        ({"train": rows([("a", 1)]), "test": []}, "test"),
        ({"train": rows([("a", 1)]), "validation": rows([("a", 1)])}, "validation"),
        ({"train": rows([("a", 9)])}, "train"),
    ],
)
def test_bad_parts_are_named(given: dict[str, list[Row]], field: str) -> None:
    with pytest.raises(DataError) as caught:
        from_files(given, Sizes(), 0)
    assert caught.value.field == field
