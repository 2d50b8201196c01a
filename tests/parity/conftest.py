"""Tiny models are fastest on one thread, and two test processes do not disturb each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tutelage.generate.step import Stepper
from tutelage.kernels.library import library


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["kernel", "torch"])
def decoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Few rows are decoded by the C++ library where it was built; PyTorch answers the same."""
    if request.param == "torch":
        monkeypatch.setattr(Stepper, "of", lambda model: None)
    elif library() is None:
        pytest.skip("the kernel library was not built here")
    return str(request.param)
