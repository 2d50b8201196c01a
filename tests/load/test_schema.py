"""Requests invented from what the server says of itself: never a 500, always as described."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.load.test_load import idle, sizes
from tests.unit.serve.serving import serving
from tutelage.backends.local import LocalLM
from tutelage.serve.service import Limits

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance",
          "response_schema_conformance", "negative_data_rejection")  # fmt: skip
EACH = {"/v1/chat/completions": (10, 500), "/v1/completions": (20, 6500),
        "/v1/embeddings": (10, 3000)}  # fmt: skip
"""Cases as they should be, and as many as they should not be: of the short form and the long."""

PATIENCE = 1800
"""Seconds; a machine may stop a test for as long to measure something else."""


@pytest.fixture
def limited() -> Iterator[str]:
    """A context of few tokens: whatever is asked for, an answer is short."""
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    lm.share(cache_bytes=20_000_000)
    with serving({"model": lm}, waiting=4096, limits=Limits(per_key=4096)) as found:
        yield found
    assert lm.engine.loop is not None
    lm.engine.loop.close()


def cases(operation: Any, mode: Any, count: int, seen: Counter[int]) -> None:
    """Ask so many invented requests and hold each answer to what is described."""
    checks = [getattr(schemathesis.checks, name) for name in CHECKS]

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=count, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    def asked(case: Any) -> None:
        answer = case.call(timeout=PATIENCE)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=checks)

    asked()


@pytest.mark.timeout(7200)
@sizes
def test_invented_requests(limited: str, long: bool) -> None:
    schema = schemathesis.openapi.from_url(f"{limited}/openapi.json")
    seen: Counter[int] = Counter()
    begun = time.monotonic()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in EACH:
            cases(operation, schemathesis.GenerationMode.POSITIVE, 3, seen)
            continue
        for mode in schemathesis.GenerationMode:
            cases(operation, mode, EACH[operation.path][long], seen)
            print(operation.path, mode, dict(seen), f"{time.monotonic() - begun:.0f} s", flush=True)
    assert not any(status >= 500 for status in seen)
    assert seen[200] and seen[400]
    idle(limited)
