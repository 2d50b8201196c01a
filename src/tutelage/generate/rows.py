"""Rows of a cache: prompts are read into them, then each takes one token a step.

What the engine, the searches and speculation are all made of. Knows nothing of jobs' settings.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.data.pack import Example, memory_of, pack
from tutelage.generate.step import FEW_ROWS, Stepper
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model, encoded
from tutelage.nn.cache import Cache
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout
from tutelage.nn.reading import DecodeStep, ReadPrompts


class Rows:
    """A model and the cache of the rows it continues."""

    def __init__(self, model: Model, cache: Cache) -> None:
        self.model = model
        self.cache = cache
        # Bound anew: pointers into weights that were replaced since would answer for the old ones.
        self.stepper = Stepper.of(model)

    @classmethod
    def of(cls, model: Model, slots: int, room: int, blocks: int | None = None) -> Rows:
        """Empty rows, each with room for so many tokens, in `blocks` blocks if they share them."""
        like = torch.empty(0, dtype=model.compute, device=model.device)
        shape = (model.heads.key_value, model.heads.width)
        cache = Cache(model.layers, slots, room, shape, like, blocks, model.narrow_cache)
        return cls(model, cache)

    def read(
        self, slots: Sequence[int], rows: Sequence[Example], before: int = 0
    ) -> Float[Tensor, "M C"]:
        """Vectors, before the final norm, of what each row is read for; its keys are then in its
        slot, behind the first `before` tokens that all these slots have already."""
        cache = self.cache
        plan = pack(rows, share=False)
        memory = memory_of(rows) if rows[0].memory else None
        ids, places = self.tensor(plan.ids), self.tensor(plan.positions)
        lengths, at = self.tensor([len(row.ids) for row in rows]), self.tensor(slots)
        attend = ReadPrompts(
            cache, Layout.of(plan, str(ids.device), memory),
            torch.repeat_interleave(at, lengths), places, at,
            self.tensor([len(row.memory) for row in rows]), before,
        )  # fmt: skip
        read, select = encoded(self.model, memory), self.tensor(plan.select)
        hidden = self.model.hidden(Tokens(ids, places + before), attend, select, read)
        cache.lengths[at] = lengths + before
        return hidden

    def step(self, slots: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "M V"]:
        """Scores after one more token in each of `slots`, by the kernel where it is faster."""
        cache = self.cache
        if self.stepper is not None and len(slots) <= self.stepper.most_rows:
            at = self.tensor(slots)
            logits = self.stepper.step(cache, at, self.tensor(tokens))
            cache.lengths[at] += 1
            return logits
        return self.model.logits(self.step_hidden(slots, tokens))

    def step_hidden(self, slots: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "M C"]:
        """The same by PyTorch, vectors before the final norm instead of scores."""
        cache, at = self.cache, self.tensor(slots)
        hidden = self.model.hidden(
            Tokens(self.tensor(tokens), cache.lengths[at]), DecodeStep(cache, at)
        )
        cache.lengths[at] += 1
        return hidden

    def ahead(self, slots: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "M V"]:
        """Scores after each of several tokens: those of one slot follow each other. Which of them
        count is the caller's to say, by `cache.lengths`."""
        cache, at, ids = self.cache, self.tensor(slots), self.tensor(tokens)
        ahead = self.tensor([slots[:n].count(slot) for n, slot in enumerate(slots)])
        if self.stepper is not None and len(slots) <= FEW_ROWS:
            return self.stepper.step(cache, at, ids, ahead)
        attend = DecodeStep(cache, at, ahead)
        return self.model.logits(self.model.hidden(Tokens(ids, cache.lengths[at] + ahead), attend))

    def tensor(self, values: Sequence[int] | object) -> Int[Tensor, "N"]:
        return torch.as_tensor(values, dtype=torch.long, device=self.model.device)


def first_read(
    model: Model, prompt: Sequence[int], both: bool = False, begins: Sequence[int] = ()
) -> Example:
    """What is read before an answer's first token is chosen. An encoder-decoder's encoder reads the
    prompt, and the answer begins after its start token, or what `begins` says."""
    if isinstance(model, EncoderDecoder):
        return Example.read(begins or (model.start,), memory=tuple(prompt))
    return Example.read(tuple(prompt), lead=len(prompt) if both else 0)
