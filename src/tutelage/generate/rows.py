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
from tutelage.nn.ahead import AheadStep
from tutelage.nn.cache import Cache, DecodeStep, FillPrefix, ReadPrompts
from tutelage.nn.embedding import Tokens
from tutelage.nn.packed import Layout


class Rows:
    """A model and the cache of the rows it continues."""

    def __init__(self, model: Model, cache: Cache) -> None:
        self.model = model
        self.cache = cache
        # Bound anew: pointers into weights that were replaced since would answer for the old ones.
        self.stepper = Stepper.of(model)

    @classmethod
    def of(cls, model: Model, slots: int, room: int) -> Rows:
        """Empty rows, each with room for so many tokens."""
        like = torch.empty(0, dtype=model.compute, device=model.device)
        shape = (model.heads.key_value, model.heads.width)
        return cls(model, Cache(model.layers, slots, room, shape, like))

    def read_prefix(self, ids: Sequence[int]) -> None:
        """Read what all rows begin with, once."""
        tokens = self.tensor(ids)
        last = self.tensor([len(ids) - 1])
        positions = torch.arange(len(ids), device=tokens.device)
        self.model.hidden(Tokens(tokens, positions), FillPrefix(self.cache), last)

    def read(self, slots: Sequence[int], rows: Sequence[Example]) -> Float[Tensor, "M C"]:
        """Vectors, before the final norm, of what each row is read for; its keys are then in its
        slot. Rows stand without the shared prefix."""
        cache, prefix = self.cache, self.cache.prefix_length
        plan = pack(rows, share=False)
        memory = memory_of(rows) if rows[0].memory else None
        ids, places = self.tensor(plan.ids), self.tensor(plan.positions)
        lengths, at = self.tensor([len(row.ids) for row in rows]), self.tensor(slots)
        attend = ReadPrompts(
            cache, Layout.of(plan, str(ids.device), memory),
            torch.repeat_interleave(at, lengths), places, at,
            self.tensor([len(row.memory) for row in rows]),
        )  # fmt: skip
        read, select = encoded(self.model, memory), self.tensor(plan.select)
        hidden = self.model.hidden(Tokens(ids, places + prefix), attend, select, read)
        cache.lengths[at] = lengths
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
        ids = torch.zeros(cache.slots, dtype=torch.long, device=at.device)
        ids[at] = self.tensor(tokens)
        positions = cache.lengths + cache.prefix_length
        hidden = self.model.hidden(Tokens(ids, positions), DecodeStep(cache))
        cache.lengths[at] += 1
        return hidden.index_select(0, at)

    def ahead(self, slots: Sequence[int], tokens: Sequence[int]) -> Float[Tensor, "M V"]:
        """Scores after each of several tokens: those of one slot follow each other. Which of them
        count is the caller's to say, by `cache.lengths`."""
        cache, at, ids = self.cache, self.tensor(slots), self.tensor(tokens)
        ahead = self.tensor([slots[:n].count(slot) for n, slot in enumerate(slots)])
        if self.stepper is not None and len(slots) <= FEW_ROWS:
            return self.stepper.step(cache, at, ids, ahead)
        positions = cache.lengths[at] + ahead + cache.prefix_length
        attend = AheadStep(cache, at, ahead)
        return self.model.logits(self.model.hidden(Tokens(ids, positions), attend))

    def tensor(self, values: Sequence[int] | object) -> Int[Tensor, "N"]:
        return torch.as_tensor(values, dtype=torch.long, device=self.model.device)


def first_read(model: Model, prompt: Sequence[int], both: bool = False, prefix: int = 0) -> Example:
    """What is read before an answer's first token is chosen, but for the `prefix` read already. An
    encoder-decoder's encoder reads the prompt, and the answer begins after its start token."""
    if isinstance(model, EncoderDecoder):
        return Example.read((model.start,), memory=tuple(prompt))
    return Example.read(tuple(prompt)[prefix:], lead=len(prompt) if both else 0)
