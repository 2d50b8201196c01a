"""Mixing: shares by hand, caps that hold, the same order from any place, and documents by share."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.corpus.documents import jsonl, prose
from tests.unit.corpus.test_tokens import made
from tutelage.corpus.blend import Blend, measure
from tutelage.corpus.documents import Document, text_document
from tutelage.corpus.mix import PRESETS, plan, proportions
from tutelage.corpus.mixture import BLOCK, Mixture, quotas
from tutelage.corpus.sources import open_source
from tutelage.corpus.tokens import TokenStore, Windows
from tutelage.errors import ConfigError, DataError

SIZES = {"domain": 4e6, "general": 90e6}


def taken(**options: object) -> dict[str, float]:
    return {share.name: share.taken for share in plan(SIZES, **options)}  # type: ignore[arg-type]


def test_the_preset_takes_all_of_the_domain_and_as_much_as_fits() -> None:
    found = taken(weights=PRESETS["domain-51"])
    assert found["domain"] == pytest.approx(4e6)
    assert found["domain"] / sum(found.values()) == pytest.approx(0.51)


def test_without_weights_sizes_are_the_weights() -> None:
    assert taken() == pytest.approx(SIZES)
    assert taken(total=9.4e6) == pytest.approx({"domain": 0.4e6, "general": 9e6})


def test_temperature_evens_out() -> None:
    sizes = {"a": 1.0, "b": 16.0}
    assert proportions(sizes, 1)["a"] == pytest.approx(1 / 17)
    assert proportions(sizes, 2)["a"] == pytest.approx(1 / 5)
    assert proportions(sizes, 4)["a"] == pytest.approx(1 / 3)
    assert proportions(sizes, 1e9)["a"] == pytest.approx(1 / 2)


def test_what_a_cap_holds_back_goes_to_the_others() -> None:
    found = plan({"a": 10, "b": 100, "c": 1000}, weights={"a": 1, "b": 1, "c": 2},
                 max_epochs=2, total=400)  # fmt: skip
    # 100 of a are asked for and 20 allowed; the 80 go to b and c as 1 to 2.
    assert [share.taken for share in found] == pytest.approx([20, 380 / 3, 760 / 3])
    assert [share.epochs for share in found] == pytest.approx([2, 380 / 300, 760 / 3000])
    found = plan({"a": 10, "b": 100}, weights={"a": 1, "b": 1}, max_epochs=3, total=1e6)
    assert [share.taken for share in found] == pytest.approx([30, 300]), "all are capped"


names = st.sampled_from("abcdef")
numbers = st.floats(1e-3, 1e9)


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.dictionaries(names, st.tuples(numbers, numbers), min_size=1),
    st.floats(0.1, 10),
    st.floats(0.5, 8),
    st.floats(1, 1e10),
)
def test_no_cap_is_broken_and_nothing_is_lost(
    sources: dict[str, tuple[float, float]], temperature: float, epochs: float, total: float
) -> None:
    sizes = {name: size for name, (size, _) in sources.items()}
    weights = {name: weight for name, (_, weight) in sources.items()}
    found = plan(sizes, weights=weights, temperature=temperature, max_epochs=epochs, total=total)
    room = epochs * sum(sizes.values())
    assert sum(share.taken for share in found) == pytest.approx(min(total, room), rel=1e-6)
    assert all(share.epochs <= epochs * (1 + 1e-6) for share in found)
    shares = proportions(weights, temperature)
    free = [share for share in found if share.epochs < epochs * (1 - 1e-6) and share.taken > 0]
    ratios = [share.taken / shares[share.name] for share in free if shares[share.name] > 1e-200]
    assert not ratios or max(ratios) == pytest.approx(min(ratios), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"weights": {"domain": 1}}, {"weights": {"domain": 1, "general": 0}}, {"temperature": 0},
     {"max_epochs": -1}, {"total": float("nan")}],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        taken(**options)


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    for name, count in (("domain", 2), ("general", 20)):
        made(tmp_path / name, [text_document(f"{name}{n}", prose(n)) for n in range(count)])
    windows = {n: Windows(TokenStore(tmp_path / n), 32) for n in ("domain", "general")}
    return Mixture(windows, PRESETS["domain-51"], seed=5)


def test_every_block_holds_its_shares(mixture: Mixture) -> None:
    for block in range(3):
        places = [mixture.place(block * BLOCK + n) for n in range(BLOCK)]
        assert Counter(name for name, _ in places) == {"domain": 510, "general": 490}
        for name, quota in mixture.quotas.items():
            own = sorted(position for source, position in places if source == name)
            assert own == list(range(block * quota, (block + 1) * quota)), "none twice, none left"
    first = [mixture.place(n)[0] for n in range(60)]
    assert first != sorted(first) and len(set(first)) == 2


def test_a_place_needs_no_places_before_it(mixture: Mixture) -> None:
    drawn = mixture[10**12 + 7]
    again = Mixture(mixture.windows, PRESETS["domain-51"], seed=5)[10**12 + 7]
    assert (drawn.source, drawn.position) == (again.source, again.position)
    assert np.array_equal(drawn.tokens, again.tokens) and len(drawn.tokens) == 33
    assert np.array_equal(drawn.tokens, mixture.windows[drawn.source][drawn.position])
    others = [Mixture(mixture.windows, PRESETS["domain-51"], seed=6).place(n) for n in range(99)]
    assert others != [mixture.place(n) for n in range(99)]


def test_epochs_are_foretold(mixture: Mixture) -> None:
    found = mixture.epochs(2000)
    assert found["domain"] == pytest.approx(1020 / mixture.windows["domain"].count)


def test_quotas_are_nearest_and_none_vanishes() -> None:
    assert quotas({"a": 1, "b": 1, "c": 1}) == {"a": 334, "b": 333, "c": 333}
    assert quotas({"a": 999, "b": 1}) == {"a": 999, "b": 1}
    with pytest.raises(ConfigError, match="too small"):
        quotas({"a": 1e6, "b": 1})


def blended(tmp_path: Path, seed: int = 0, **options: object) -> tuple[Blend, list[Document]]:
    sources = {}
    for name, count in (("domain", 30), ("general", 300)):
        texts = [f"{name} {prose(n, 40)}" for n in range(count)]
        sources[name] = open_source(jsonl(tmp_path / f"{name}.jsonl", texts))
    measured = [measure(name, source) for name, source in sources.items()]
    shares = plan({one.name: one.size for one in measured}, **options)  # type: ignore[arg-type]
    blend = Blend(measured, shares, seed)
    return blend, list(blend)


def test_documents_come_by_share_at_every_place(tmp_path: Path) -> None:
    blend, found = blended(tmp_path, weights=PRESETS["domain-51"])
    assert len({one.text for one in found}) == len(found)
    assert sum(one.text.startswith("domain") for one in found) == 30
    sizes: Counter[str] = Counter()
    for number, one in enumerate(found):
        sizes[one.text.split()[0]] += len(one.text)
        if number > 10:
            assert sizes["domain"] / sizes.total() == pytest.approx(
                0.51, abs=0.6 / (number + 1) + 0.02
            )
    assert blend.written["domain"] / sum(blend.written.values()) == pytest.approx(0.51, abs=0.01)
    read, shares = blend.tallies
    assert read.rows_in == 330 and shares.rows_out == len(found)
    assert shares.reasons == {"beyond-its-share": 330 - len(found)}


def test_a_part_is_drawn_from_everywhere(tmp_path: Path) -> None:
    _, one = blended(tmp_path, weights=PRESETS["domain-51"], seed=0)
    _, same = blended(tmp_path, weights=PRESETS["domain-51"], seed=0)
    _, other = blended(tmp_path, weights=PRESETS["domain-51"], seed=1)
    assert [d.text for d in one] == [d.text for d in same] != [d.text for d in other]
    numbers = [int(d.id.removeprefix("d")) for d in one if d.text.startswith("general")]
    assert min(numbers) < 60 and max(numbers) > 240


def test_epochs_repeat_under_ids_of_their_own(tmp_path: Path) -> None:
    blend, found = blended(tmp_path, weights={"domain": 1, "general": 1}, max_epochs=2.5)
    copies = Counter(one.text for one in found if one.text.startswith("domain"))
    assert set(copies.values()) == {2, 3} and len(copies) == 30
    ids = [one.id for one in found if one.text.startswith("domain")]
    assert len(set(ids)) == len(ids) and "d0@2" in ids
    read, shares = blend.tallies
    assert read.rows_in == 390 and read.rows_in == shares.rows_out + shares.reasons.total()


def test_an_empty_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("no JSON\n")
    with pytest.raises(DataError) as caught:
        measure("a", open_source(str(tmp_path / "a.jsonl")))
    assert caught.value.field == str(tmp_path / "a.jsonl")
