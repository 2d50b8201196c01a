"""A tiny model with a long context behind a server, exact, so that answers can be compared."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from tests.unit.serve.serving import serving
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.source import parse
from tutelage.serve.service import Limits

CONTEXT = 16384


@pytest.fixture(scope="session", autouse=True)
def many_files() -> None:
    """Both ends of every connection are files of this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


@pytest.fixture(scope="module")
def lm() -> Iterator[LocalLM]:
    """Sixty rows of 2,000 tokens fit its cache, or seven as long as the context."""
    torch.set_num_threads(1)
    checkpoint = open_checkpoint(parse("preset:llama-tiny"), seed=3)
    config = {**checkpoint.config, "max_position_embeddings": CONTEXT}
    checkpoint = replace(checkpoint, config=config)
    found = LocalLM(checkpoint, build(checkpoint, "fp32", "cpu"), exact=True)
    found.share(cache_bytes=64_000_000)
    yield found
    assert found.engine.loop is not None
    found.engine.loop.close()


@pytest.fixture(scope="module")
def address(lm: LocalLM) -> Iterator[str]:
    limits = Limits(per_key=4096, new_tokens=CONTEXT)
    with serving({"model": lm}, waiting=4096, limits=limits, drain_seconds=1.0) as found:
        yield found
