"""The same random weights in transformers' Llama and in ours: the witness of every parity test."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import transformers

from tutelage.checkpoints.build import build
from tutelage.models.transformer import Transformer

VOCABULARY = 97


@dataclass
class Held:
    """A weight that is already in memory."""

    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    dtype = "float32"

    def load(self) -> torch.Tensor:
        return self.tensor.clone()


def their_llama(seed: int = 0, **changes: object) -> transformers.PreTrainedModel:
    """A random Llama of transformers in float32, its norms and biases away from 1 and 0."""
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
    }
    config = transformers.LlamaConfig(**{**settings, **changes}, architectures=["LlamaForCausalLM"])
    theirs = transformers.LlamaForCausalLM(config).float().eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return theirs


def checkpoint_of(theirs: transformers.PreTrainedModel) -> Any:
    """What `build` and the adapters need of a checkpoint, around weights in memory."""
    state = {name: Held(value.detach()) for name, value in theirs.state_dict().items()}
    config = theirs.config.to_dict()
    tokenizer = SimpleNamespace(template=None)
    return SimpleNamespace(
        source="test", config=config, weights=state, identity={}, tokenizer=tokenizer
    )


def pair(seed: int = 0, **changes: object) -> tuple[transformers.PreTrainedModel, Transformer]:
    theirs = their_llama(seed, **changes)
    return theirs, build(checkpoint_of(theirs))
