"""A tag of every word, as of names in BIO: cross-entropy of each word's tag.

The text is words divided by spaces, the answer as many tags. A word of several tokens is told by
its first one (Devlin et al. 2019, arXiv:1810.04805, section 5.3), in a decoder by its last, which
is the first that has read all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.heads import classification
from tutelage.heads._head import Head, Question, Read, Reply, Unfit, classes, place_of
from tutelage.heads.coder import Coded, Coder

OUTSIDE = "O"


def labels(answers: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """O first, the others in the order of the alphabet."""
    found = {tag for _, answer in answers for tag in answer.split()}
    first = [OUTSIDE] if OUTSIDE in found else []
    return classes([*first, *sorted(found - {OUTSIDE})], answers)


def read(coder: Coder, asked: Question, known: tuple[str, ...]) -> Read:
    words = asked.text.split()
    row = coder.coded(" ".join(words))
    if not coder.fits(row):
        raise Unfit("too-long", f"{len(row.ids)} tokens, the context holds {coder.context}")
    tags = [OUTSIDE] * len(words) if asked.answer is None else asked.answer.split()
    if len(tags) != len(words):
        raise Unfit("wrong-type", f"{len(words)} words but {len(tags)} tags")
    places = _places(words, row, coder.causal)
    if not places:
        raise Unfit("empty-text", "no word of it is a token")
    wanted = [0 if asked.answer is None else place_of(tags[word], known) for word in places]
    example = coder.example(row, list(places.values()), wanted, asked.weight, asked.name)
    return Read(example, (len(words), tuple(places)))


def _places(words: Sequence[str], row: Coded, last: bool) -> dict[int, int]:
    """Word -> the place of the token that tells it; a word the tokenizer drops has none."""
    owner: list[int] = []
    for number, word in enumerate(words):
        owner += [number] * len(word) + [-1]
    found: dict[int, int] = {}
    for place, start, end in row.spans:
        told = next((one for one in owner[start:end] if one >= 0), -1)
        if told >= 0 and (last or told not in found):
            found[told] = place
    return dict(sorted(found.items()))


def reply(found: Float[Tensor, "M K"], asked: Read, known: tuple[str, ...]) -> Reply:
    count, words = asked.keep
    tags = [OUTSIDE] * count
    for word, best in zip(words, torch.argmax(found, dim=-1).tolist(), strict=True):
        tags[word] = known[best]
    return Reply(" ".join(tags))


BATCH_TOKENS = 256
"""Every word is learned, and most of them alike: four small updates taught more than a large one
where it was tried (docs/adaptation.md)."""

HEAD = Head(
    "token-classification", ("span_f1",), labels, read, classification.loss, reply,
    batch_tokens=BATCH_TOKENS, unit="nats per word",
)  # fmt: skip
