"""What all tests share: where the checkout is, and data that lies beside it on some machines."""

from __future__ import annotations

import contextlib
import gc
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run, however slow or busy the machine is: what fails, fails for all.
hypothesis.settings.register_profile(
    "everywhere",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("everywhere")


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> None:
    """Every run looks for garbage, to give memory back. What has been imported by now is none, and
    to look through it took most of the time of tiny runs."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def undisturbed_module() -> Iterator[None]:
    """What fixtures of a module draw does not hang on the modules before it."""
    with undisturbed():
        yield


@pytest.fixture(autouse=True)
def undisturbed_test() -> Iterator[None]:
    """Nor what a test draws on the tests before it, in whichever process they ran."""
    with undisturbed():
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Random numbers that belong to nobody start anew, and what the block sets for all of PyTorch
    ends with it; of what has been imported."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    torch.manual_seed(0)
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; skips where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside the checkout (../shared/data)")
    return folder
