"""Whole new tokens for a model: words that its tokenizer is to take as one, and rows for them.

    with_tokens(checkpoint, ("<step>", "kubectl"))      the model with a tokenizer that has them

They stand behind the tokenizer's vocabulary, are recognised wherever a text holds them, and their
rows begin as the mean of those of the pieces they were cut into (`rows.py`). The same tokens give
the same model again: that is how an adapter that was tuned with them is opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import ConfigError
from tutelage.models.catalogue import shape
from tutelage.text.tokenizer import Tokenizer
from tutelage.tokenizers.rows import extended_model

FIELD = "--new-token"


def with_tokens(checkpoint: Checkpoint, tokens: Sequence[str]) -> Checkpoint:
    """The same checkpoint where there are none. Raises ConfigError for a token that is there
    already, that is no text, or is named twice, and for an encoder-decoder."""
    if not tokens:
        return checkpoint
    base = checkpoint.tokenizer
    if shape(checkpoint.config).start is not None:
        raise ConfigError(
            "new tokens are added to decoders", field=FIELD, got=checkpoint.source,
            expected="a model without an encoder",
        )  # fmt: skip
    for token in tokens:
        if not token.strip() or base.id(token) is not None or list(tokens).count(token) > 1:
            raise ConfigError(
                f"{token!r} is not a new token", field=FIELD, got=token,
                expected="a text that is no token yet, named once",
            )  # fmt: skip
    backend = Backend.from_str(base.json)
    backend.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
    extended = Tokenizer(
        backend.to_str(), base.special, end_ids=base.eos_ids, template=base.template,
        context=base.context,
    )  # fmt: skip
    pieces = {new_id(extended, token): tuple(base.encode_plain(token)) for token in tokens}
    return extended_model(checkpoint, extended, pieces)


def new_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that was added."""
    found = tokenizer.id(token)
    assert found is not None
    return found
