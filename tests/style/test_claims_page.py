"""docs/claims.md is made from the ledger and current."""

from __future__ import annotations

from tests.style.claims_page import PAGE, made


def test_the_page_is_that_of_the_ledger() -> None:
    assert PAGE.read_text(encoding="utf-8") == made(), "run scripts/claims"
