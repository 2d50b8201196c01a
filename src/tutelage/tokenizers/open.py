"""A tokenizer from what the user names: a tokenizer's own folder, or any model."""

from __future__ import annotations

from pathlib import Path

from tutelage import store
from tutelage.checkpoints.folder import ModelFolder
from tutelage.checkpoints.open import open_checkpoint
from tutelage.text.tokenizer import Tokenizer


def is_bare(source: str) -> bool:
    """Whether `source` is a folder with a tokenizer and no model."""
    path = Path(source).expanduser()
    return (path / "tokenizer.json").is_file() and not (path / "config.json").exists()


def open_tokenizer(source: str) -> Tokenizer:
    """The tokenizer of a folder or a model source; no weight is loaded.

    Raises SourceError if there is none, DamagedError for a folder of ours that was changed.
    """
    if not is_bare(source):
        return open_checkpoint(source).tokenizer
    path = Path(source).expanduser()
    if (path / store.MANIFEST).is_file():
        store.verify(path)
    return ModelFolder(path).tokenizer({}, {})
