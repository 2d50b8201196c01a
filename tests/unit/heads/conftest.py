"""Tiny models are fastest on one thread."""

from tests.parity.conftest import one_thread

__all__ = ["one_thread"]
