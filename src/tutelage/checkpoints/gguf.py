"""A GGUF file as a checkpoint: Hugging Face configuration, names, row order and orientation.

`gguf_file.py` knows the container, `gguf_tokenizer.py` the tokenizer, `gguf_rope.py` what became of
RoPE's scaling, `gguf_family.py` the architectures. Of llama files llama.cpp rotates neighbouring
pairs of a head's channels where Hugging Face rotates halves, so its converter reorders the rows of
q and k; here that is undone. GPT-2's matrices lie there as [out, in], in Hugging Face's files as
[in, out].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.gguf_family import Family, family_of, fault, number
from tutelage.checkpoints.gguf_file import GGUFFile, read_gguf
from tutelage.checkpoints.gguf_rope import FREQUENCIES
from tutelage.checkpoints.gguf_tokenizer import gguf_tokenizer

if TYPE_CHECKING:
    import torch

    from tutelage.text.tokenizer import Tokenizer

_BLOCK_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")


def gguf_checkpoint(path: Path, source: str | None = None) -> Checkpoint:
    """Open a .gguf file. Raises SourceError naming the file and what cannot be read."""
    file = read_gguf(path)
    family = family_of(file)
    names = _names(file, family)
    config = family.config(file, names)
    tokenizer = gguf_tokenizer(file.metadata, path, number(file, "context_length"))
    _check_vocabulary(file, config, tokenizer)
    config |= _token_ids(tokenizer)
    licence = file.metadata.get("general.license")
    return Checkpoint(
        source=source or str(path),
        config=config,
        weights=_weights(file, family, config, names),
        tokenizer=tokenizer,
        generation_config=_token_ids(tokenizer),
        licence=licence if isinstance(licence, str) else None,
        bytes=path.stat().st_size,
        files=(path,),
    )


@dataclass(frozen=True)
class GGUFWeight:
    """One tensor; `pairs` is the number of heads whose rows are to be put back into halves;
    `turned` is one that Hugging Face holds the other way round."""

    file: GGUFFile
    name: str
    pairs: int | None = None
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        shape = self.file.tensors[self.name].shape
        return shape[::-1] if self.turned else shape

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def stored(self) -> str:
        """How the file holds it: Q4_1, F16 ..."""
        return self.file.tensors[self.name].type.name

    def load(self) -> torch.Tensor:
        import torch

        values = self.file.read(self.name)
        if self.turned:
            values = np.ascontiguousarray(values.T)
        return torch.from_numpy(halves(values, self.pairs) if self.pairs else values)


@dataclass(frozen=True)
class ZeroWeight:
    """A bias that the file leaves out and Hugging Face's layout has: adding nothing."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def load(self) -> torch.Tensor:
        import torch

        return torch.zeros(self.shape)


def halves(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from pair order (0, d/2, 1, d/2+1 ...) to half order (0, 1, ... d-1)."""
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _names(file: GGUFFile, family: Family) -> dict[str, str]:
    """Hugging Face's name -> the file's, for every tensor of the file."""
    layers = number(file, "block_count")
    if layers > len(file.tensors):  # before anything is counted out by it
        raise fault(
            file, f"{family.name}.block_count", layers, f"at most {len(file.tensors)} tensors"
        )
    names = {}
    for name in file.tensors:
        if name == FREQUENCIES:
            continue
        stem, _, kind = name.rpartition(".")
        match = _BLOCK_NAME.fullmatch(name)
        if match and int(match[1]) < layers and family.has(match[2], match[3], family.block):
            names[f"{family.blocks}.{match[1]}.{family.block[match[2]]}.{match[3]}"] = name
        elif family.has(stem, kind, family.whole):
            names[f"{family.whole[stem]}.{kind}"] = name
        else:
            expected = f"the tensors of architecture {family.name}"
            raise fault(file, name, "a tensor with no place", expected)
    for name in family.needed(layers):
        if name not in file.tensors:
            raise fault(file, name, "missing", "a tensor of this name")
    return names


def _weights(
    file: GGUFFile, family: Family, config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, WeightReader]:
    heads = {}
    if family.paired:
        heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    weights: dict[str, WeightReader] = {}
    for name, stored in names.items():
        pairs = heads.get(name.split(".")[-2])
        if pairs is not None and file.tensors[stored].shape[0] % (2 * pairs):
            raise fault(file, stored, file.tensors[stored].shape, f"rows for {pairs} heads")
        part, _, kind = stored.rpartition(".")
        turned = kind == "weight" and part.rpartition(".")[2] in family.turned
        weights[name] = GGUFWeight(file, stored, pairs, turned)
    for name, reader in list(weights.items()):
        # Hugging Face has biases for all projections of a group or for none; files may lack some.
        attention, bias = ".self_attn." in name, name.removesuffix("weight") + "bias"
        group = "attention_bias" if attention else "mlp_bias" if ".mlp." in name else ""
        wanted = config.get(group, False) and not family.must
        if wanted and name.endswith(".weight") and bias not in weights:
            weights[bias] = ZeroWeight(reader.shape[:1])
    return weights


def _check_vocabulary(file: GGUFFile, config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    tokens = len(file.metadata["tokenizer.ggml.tokens"])
    if tokens != config["vocab_size"] or tokenizer.vocabulary != tokens:
        raise fault(file, "token_embd.weight", f"{config['vocab_size']} rows", f"{tokens} tokens")


def _token_ids(tokenizer: Tokenizer) -> dict[str, Any]:
    """The control tokens' ids as config.json and generation_config.json have them."""
    ends = sorted(tokenizer.eos_ids)
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": tokenizer.pad_id,
    }
    return {name: id for name, id in ids.items() if id is not None}
