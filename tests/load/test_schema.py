"""Requests invented from what the server says of itself: never a 500, always as described."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.load.test_load import idle
from tests.unit.serve.serving import serving
from tutelage.backends.local import LocalLM
from tutelage.serve.service import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_schema_conformance", "negative_data_rejection")  # fmt: skip
EACH = {"/v1/chat/completions": (10, 50), "/v1/completions": (20, 650),
        "/v1/embeddings": (10, 300)}  # fmt: skip
"""Cases as they should be, and as many as they should not be: of the short form and of a piece of
the long one. Short pieces, since what is invented grows slower the more there was before it."""
LONG = [pytest.param(n, id=f"piece{n}", marks=pytest.mark.long) for n in range(10)]
PIECES = [pytest.param(None, id="short"), *LONG]
"""20,000 cases in all; the number of a piece is its seed."""

PATIENCE = 1800
"""Seconds; a machine may stop a test for as long to measure something else."""


@pytest.fixture
def limited() -> Iterator[str]:
    """A context of few tokens: whatever is asked for, an answer is short. An encoder beside it has
    vectors to give and nothing to say."""
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    encoder = LocalLM.open("preset:bert-tiny", device="cpu", dtype="fp32", threads=1)
    lm.share(cache_bytes=20_000_000)
    limits = Limits(per_key=4096)
    with serving({"model": lm, "encoder": encoder}, waiting=4096, limits=limits) as found:
        yield found
    assert lm.engine.loop is not None
    lm.engine.loop.close()


def cases(operation: Any, mode: Any, count: int, seed: int, seen: Counter[int]) -> None:
    """Ask so many invented requests and hold each answer to what is described."""
    checks = [getattr(schemathesis.checks, name) for name in CHECKS]

    @hypothesis.seed(seed)
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    def asked(case: Any) -> None:
        answer = case.call(timeout=PATIENCE)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=checks)

    asked()


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("piece", PIECES)
def test_invented_requests(limited: str, piece: int | None) -> None:
    schema = schemathesis.openapi.from_url(f"{limited}/openapi.json")
    total: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        count = EACH.get(operation.path, (3, 3))[piece is not None]
        modes = list(schemathesis.GenerationMode)
        for mode in modes if operation.path in EACH else [schemathesis.GenerationMode.POSITIVE]:
            begun, seen = time.monotonic(), Counter[int]()
            cases(operation, mode, count, piece or 0, seen)
            print(operation.path, mode.value, dict(seen), f"{time.monotonic() - begun:.0f} s")
            assert operation.path not in EACH or seen.total() >= count
            total += seen
    print(f"{total.total()} cases", dict(total), flush=True)
    assert not any(status >= 500 for status in total)
    assert total[200] and total[400]
    idle(limited)
