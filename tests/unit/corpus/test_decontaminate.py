"""Documents that hold test items are found, those that share common wording are not."""

from __future__ import annotations

from tests.unit.corpus.documents import documents, prose
from tests.unit.corpus.measured import removed
from tests.unit.corpus.planted import _edited
from tutelage.corpus.decontaminate import Decontaminate
from tutelage.corpus.documents import Document, text_document

ITEM = prose(1000, 40)
WORDS = ITEM.split()


def looked(items: list[str], given: list[Document]) -> tuple[set[str], Decontaminate]:
    step = Decontaminate([text_document(f"item {n}", text) for n, text in enumerate(items)])
    step.count(given)
    return removed(step, given), step


def holding(*texts: str) -> list[Document]:
    planted = [text_document(f"holds {n}", text) for n, text in enumerate(texts)]
    return [*documents(30), *planted]


def test_kinds() -> None:
    inside = f"{prose(1, 60)} {' '.join(WORDS[5:18])} {prose(2, 60)}"
    one_less = f"{prose(3, 60)} {' '.join(WORDS[5:17])} {prose(4, 60)}"
    import random

    nearly = _edited(random.Random(0), prose(1001, 150), 3)
    given = holding(ITEM.upper(), inside, one_less, nearly)
    found, step = looked([ITEM, prose(1001, 150), prose(1002, 40)], given)
    assert found == {"holds 0", "holds 1", "holds 3"}
    assert {k: (v.document, v.kind) for k, v in step.found.items()} == {
        "item 0": ("holds 0", "exact"),
        "item 1": ("holds 3", "near"),
    }


def test_short_items_are_found_whole() -> None:
    eight, seven = "Who built the old bridge over the river?", "What is the capital of France?"
    given = holding(f"Quiz. {eight} Nobody knows.", f"Quiz. {seven} Paris.", seven.lower())
    found, step = looked([eight, seven], given)
    assert found == {"holds 0", "holds 2"} and step.short == 1


def test_wording_of_many_documents_is_no_evidence() -> None:
    instruction = "Read the following question with care and answer it in one short sentence only:"
    rows = [text_document(f"r{n}", f"{instruction} {prose(n, 30)}") for n in range(200)]
    found, _ = looked([f"{instruction} {prose(1000, 30)}"], rows)
    assert found == set()
    found, _ = looked([f"{instruction} {prose(7, 30)}"], rows)
    assert found == {"r7"}


def test_nothing_to_look_for_finds_nothing() -> None:
    assert looked([], documents(5))[0] == set()
    assert looked([""], documents(5))[0] == set()
