"""The built-in set is made once: parsing the whole library takes seconds."""

from __future__ import annotations

import pytest

from tutelage.data.load import load
from tutelage.data.rows import Loaded


@pytest.fixture(scope="session")
def docstrings() -> Loaded:
    return load("builtin:stdlib-docstrings")
