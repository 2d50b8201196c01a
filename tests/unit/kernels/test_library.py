"""A library that was built from other sources is not called."""

from __future__ import annotations

import ctypes

import pytest

from tutelage.kernels import library as kernels

pytestmark = pytest.mark.skipif(kernels.library() is None, reason="the library was not built")


@pytest.mark.parametrize(
    "struct", ["ModelStruct", "LayerStruct", "BatchStruct", "CacheStruct", "OwnStruct"]
)
def test_other_structures_than_the_librarys_are_refused(
    struct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = type("Longer", (getattr(kernels, struct),), {"_fields_": (("more", ctypes.c_int64),)})
    monkeypatch.setattr(kernels, struct, longer)
    assert kernels.library.__wrapped__() is None
