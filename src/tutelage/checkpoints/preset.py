"""Presets: published and tiny shapes with random weights, made from a seed.

The shapes stand in the architecture files; here they become a checkpoint. A weight depends on the
seed and its own name alone, so it is the same whatever is loaded before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.errors import SourceError
from tutelage.models.catalogue import find_preset, layout, shape, spec_for
from tutelage.models.spec import Family, Start, Weight
from tutelage.text import byte_level
from tutelage.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

BYTES_PER_WEIGHT = 4
TOKENIZERS: Mapping[Family, Callable[[int | None], Tokenizer]] = {
    "decoder": byte_level.byte_tokenizer,
    "encoder": byte_level.encoder_tokenizer,
    "encoder-decoder": byte_level.pair_tokenizer,
}


@dataclass(frozen=True)
class RandomWeight:
    """Normal(0, `start`), or a constant."""

    name: str
    shape: tuple[int, ...]
    start: Start
    seed: int
    dtype: str = "float32"

    def load(self) -> torch.Tensor:
        import torch

        if isinstance(self.start, str):
            return getattr(torch, self.start)(self.shape)
        key = hashlib.sha256(f"{self.seed}:{self.name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little", signed=True))
        return torch.randn(self.shape, generator=generator) * self.start


def start_of(weight: Weight, deviation: float) -> Start:
    """How a weight begins: as its architecture says, else ones for gains, zeros for biases and
    Normal(0, `deviation`) for matrices."""
    if weight.start is not None:
        return weight.start
    if weight.path.endswith(".bias"):
        return "zeros"
    return "ones" if len(weight.shape) == 1 else deviation


def preset_checkpoint(name: str, seed: int = 0) -> Checkpoint:
    """A preset's checkpoint; nothing is allocated before its weights are loaded.

    Its tokenizer is bytes, as random weights know no vocabulary. Raises UnknownName.
    """
    config: dict[str, Any] = dict(find_preset(name))
    spec = spec_for(config)
    sizes = shape(config)
    tokenizer = TOKENIZERS[spec.family](sizes.context)
    if sizes.vocabulary < tokenizer.vocabulary:
        raise SourceError(
            f"preset:{name} has too small a vocabulary for its byte-level tokenizer",
            field="vocab_size",
            got=sizes.vocabulary,
            expected=f"at least {tokenizer.vocabulary}",
        )
    return random_checkpoint(f"preset:{name}", config, tokenizer, seed, {"preset": name})


def random_checkpoint(
    source: str,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    seed: int,
    identity: Mapping[str, Any],
) -> Checkpoint:
    """A model of this shape as it is before any training. `identity` and the seed tell its weights
    from others."""
    ids = {"eos_token_id": sorted(tokenizer.eos_ids) or None, "pad_token_id": tokenizer.pad_id}
    if spec_for(config).family == "encoder-decoder":  # as T5: decoders begin with the padding
        first = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
        ids["decoder_start_token_id"] = first
    config = {**config, "bos_token_id": tokenizer.bos_id, **ids}
    deviation = float(config.get("initializer_range", 0.02))
    weights: dict[str, WeightReader] = {
        weight.hf_name: RandomWeight(
            weight.hf_name, weight.stored_shape, start_of(weight, deviation), seed
        )
        for weight in layout(config)
    }
    return Checkpoint(
        source=source,
        config=config,
        weights=weights,
        tokenizer=tokenizer,
        generation_config=ids,
        licence=None,
        bytes=sum(weight.count for weight in layout(config)) * BYTES_PER_WEIGHT,
        files=(),
        identity={**identity, "seed": seed},
    )
