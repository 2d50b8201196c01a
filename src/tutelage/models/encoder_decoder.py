"""An encoder whose vectors a decoder attends to. Both are stacks of blocks (`transformer.py`)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.models.transformer import Transformer
from tutelage.nn.attend import Attend
from tutelage.nn.attention import Heads
from tutelage.nn.embedding import Tokens
from tutelage.nn.form import Form
from tutelage.nn.task_head import TaskHead


class EncoderDecoder(nn.Module):
    """memory = encoder(source),  scores = decoder(tokens, memory).

    Answers like a `Transformer` whose `hidden` needs a memory; `start` is the token every decoded
    row begins with. Where both read one token table, it is the same `Embedding` module.
    """

    def __init__(self, encoder: Transformer, decoder: Transformer, start: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.start = start
        self.built_from = ""
        """Hash of the checkpoint's weights as they were loaded, before any tuning."""
        self.form: Form | None = None
        """In which few bits the linear maps of the blocks are held, if they are."""
        self.new_rows = False
        """Whether an adapter's rows of new tokens are put in their places."""
        self.task: TaskHead | None = None
        """The head of a task, in the place of the scores of tokens (`models/headed.py`)."""
        self.narrow_cache = False
        """Keep the decoder's keys and values in 8 bits while generating."""

    def encode(self, tokens: Tokens, attend: Attend) -> Float[Tensor, "S C"]:
        """The encoder's vectors of all tokens."""
        return self.encoder.vectors(self.encoder.hidden(tokens, attend))

    def hidden(
        self,
        tokens: Tokens,
        attend: Attend,
        select: Int[Tensor, "M"] | None = None,
        memory: Float[Tensor, "S C"] | None = None,
    ) -> Float[Tensor, "N C"]:
        """The decoder's vectors before its final norm."""
        return self.decoder.hidden(tokens, attend, select, memory)

    @property
    def device(self) -> torch.device:
        return self.decoder.device

    @property
    def heads(self) -> Heads:
        return self.decoder.heads

    @property
    def layers(self) -> int:
        return self.decoder.layers

    @property
    def context(self) -> int | None:
        return self.decoder.context

    @property
    def compute(self) -> torch.dtype:
        return self.decoder.compute

    @compute.setter
    def compute(self, kind: torch.dtype) -> None:
        self.encoder.compute = self.decoder.compute = kind

    @property
    def checkpointing(self) -> bool:
        return self.decoder.checkpointing

    @checkpointing.setter
    def checkpointing(self, on: bool) -> None:
        self.encoder.checkpointing = self.decoder.checkpointing = on

    def prepare(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
        return self.decoder.prepare(hidden)

    @property
    def head_weight(self) -> Float[Tensor, "V C"]:
        return self.decoder.head_weight

    @property
    def head_bias(self) -> Float[Tensor, "V"] | None:
        return self.decoder.head_bias

    def logits(self, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N V"]:
        return self.decoder.logits(hidden)
