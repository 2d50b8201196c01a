"""Sentinels: the control tokens that stand for spans taken out of a text, as T5 names them.

`<extra_id_0>` has the last id of the vocabulary, `<extra_id_1>` the one before it, and so on
(Raffel et al. 2020, the published vocabularies).
"""

from __future__ import annotations

from tutelage.text.tokenizer import Tokenizer


def sentinel(number: int) -> str:
    """The spelling of one sentinel, counted from 0."""
    return f"<extra_id_{number}>"


def in_order_of_ids(count: int) -> list[str]:
    """`count` sentinels as they are appended to a vocabulary: the highest number first."""
    return [sentinel(number) for number in reversed(range(count))]


def sentinel_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids of `<extra_id_0>`, `<extra_id_1>` ..., as far as the vocabulary holds them."""
    ids: list[int] = []
    while (id := tokenizer.id(sentinel(len(ids)))) is not None:
        ids.append(id)
    return ids
