"""Tiny models are fastest on one thread."""

from tests.parity.conftest import decoding, one_thread

__all__ = ["decoding", "one_thread"]
