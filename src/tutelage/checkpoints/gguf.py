"""A llama-family GGUF file as a checkpoint: Hugging Face configuration, names and row order.

`gguf_file.py` knows the container, `gguf_tokenizer.py` the tokenizer, `gguf_rope.py` what became of
RoPE's scaling; this file the architecture `llama` (Llama, Mistral, SmolLM ...). llama.cpp rotates
neighbouring pairs of a head's channels where Hugging Face rotates halves, so its converter reorders
the rows of q and k; here that is undone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.gguf_file import GGUFFile, read_gguf
from tutelage.checkpoints.gguf_rope import FREQUENCIES, rope_scaling
from tutelage.checkpoints.gguf_tokenizer import gguf_tokenizer
from tutelage.errors import SourceError

if TYPE_CHECKING:
    import torch

    from tutelage.text.tokenizer import Tokenizer

WHOLE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_BLOCK_NAME = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_STORED = {"F16": "float16", "BF16": "bfloat16"}


def gguf_checkpoint(path: Path, source: str | None = None) -> Checkpoint:
    """Open a .gguf file. Raises SourceError naming the file and what cannot be read."""
    file = read_gguf(path)
    names = _names(file)
    config = _config(file, names)
    tokenizer = gguf_tokenizer(file.metadata, path, config["max_position_embeddings"])
    _check_vocabulary(file, config, tokenizer)
    config |= _token_ids(tokenizer)
    licence = file.metadata.get("general.license")
    return Checkpoint(
        source=source or str(path),
        config=config,
        weights=_weights(file, config, names),
        tokenizer=tokenizer,
        generation_config=_token_ids(tokenizer),
        licence=licence if isinstance(licence, str) else None,
        bytes=path.stat().st_size,
        files=(path,),
    )


@dataclass(frozen=True)
class GGUFWeight:
    """One tensor; `pairs` is the number of heads whose rows are to be put back into halves."""

    file: GGUFFile
    name: str
    pairs: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.file.tensors[self.name].shape

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


def _config(file: GGUFFile, names: Mapping[str, str]) -> dict[str, Any]:
    heads = _number(file, "attention.head_count")
    width = _number(file, "embedding_length")
    head_width = _number(file, "attention.key_length", default=width // max(heads, 1))
    rotated = _number(file, "rope.dimension_count", default=head_width)
    if heads == 0 or rotated != head_width:
        raise _fault(file, "llama.rope.dimension_count", rotated, f"the whole head, {head_width}")
    kept = {_STORED.get(file.tensors[name].type.name) for name in names.values() if "blk" in name}
    theta = float(file.metadata.get("llama.rope.freq_base", 10000.0))
    context = _number(file, "context_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": _number(file, "feed_forward_length"),
        "num_hidden_layers": _number(file, "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _number(file, "attention.head_count_kv", default=heads),
        "head_dim": head_width,
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "max_position_embeddings": context,
        "hidden_act": "silu",
        "rms_norm_eps": _decimal(file.metadata.get("llama.attention.layer_norm_rms_epsilon", 1e-5)),
        "rope_theta": theta,
        "rope_scaling": rope_scaling(file, theta, head_width, context),
        "attention_bias": any(name.endswith("q_proj.bias") for name in names),
        "mlp_bias": any(name.endswith("up_proj.bias") for name in names),
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "tie_word_embeddings": "lm_head.weight" not in names,
        "use_cache": True,
        "torch_dtype": next((one for one in kept - {None}), "float32"),
    }


def _names(file: GGUFFile) -> dict[str, str]:
    """Hugging Face's name -> the file's, for every tensor of the file."""
    architecture = file.metadata.get("general.architecture")
    if architecture != "llama":
        raise _fault(file, "general.architecture", architecture, "llama")
    if file.metadata.get("llama.expert_count", 0):
        raise _fault(file, "llama.expert_count", file.metadata["llama.expert_count"], "no experts")
    layers = _number(file, "block_count")
    if layers > len(file.tensors):  # before anything is counted out by it
        raise _fault(file, "llama.block_count", layers, f"at most {len(file.tensors)} tensors")
    names = {}
    for name in file.tensors:
        if name == FREQUENCIES:
            continue
        stem, _, kind = name.rpartition(".")
        match = _BLOCK_NAME.fullmatch(name)
        if match and int(match[1]) < layers and match[2] in BLOCK:
            names[f"model.layers.{match[1]}.{BLOCK[match[2]]}.{match[3]}"] = name
        elif stem in WHOLE and kind == "weight":
            names[f"{WHOLE[stem]}.weight"] = name
        else:
            raise _fault(file, name, "a tensor with no place", "the tensors of architecture llama")
    needed = [f"blk.{layer}.{part}.weight" for layer in range(layers) for part in BLOCK]
    for name in ("token_embd.weight", "output_norm.weight", *needed):
        if name not in file.tensors:
            raise _fault(file, name, "missing", "a tensor of this name")
    return names


def _weights(
    file: GGUFFile, config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, WeightReader]:
    heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }
    weights: dict[str, WeightReader] = {}
    for name, stored in names.items():
        pairs = heads.get(name.split(".")[-2])
        if pairs is not None and file.tensors[stored].shape[0] % (2 * pairs):
            raise _fault(file, stored, file.tensors[stored].shape, f"rows for {pairs} heads")
        weights[name] = GGUFWeight(file, stored, pairs)
    for name, reader in list(weights.items()):
        # Hugging Face has biases for all projections of a group or for none; files may lack some.
        attention, bias = ".self_attn." in name, name.removesuffix("weight") + "bias"
        wanted = config["attention_bias"] if attention else ".mlp." in name and config["mlp_bias"]
        if wanted and name.endswith(".weight") and bias not in weights:
            weights[bias] = ZeroWeight(reader.shape[:1])
    return weights


def _check_vocabulary(file: GGUFFile, config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
    tokens = len(file.metadata["tokenizer.ggml.tokens"])
    if tokens != config["vocab_size"] or tokenizer.vocabulary != tokens:
        raise _fault(file, "token_embd.weight", f"{config['vocab_size']} rows", f"{tokens} tokens")


def _token_ids(tokenizer: Tokenizer) -> dict[str, Any]:
    """The control tokens' ids as config.json and generation_config.json have them."""
    ends = sorted(tokenizer.eos_ids)
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends or None,
        "pad_token_id": tokenizer.pad_id,
    }
    return {name: id for name, id in ids.items() if id is not None}


def _number(file: GGUFFile, key: str, default: int | None = None) -> int:
    """A positive whole number of the architecture; a list of equal ones counts as one."""
    value = file.metadata.get(f"llama.{key}", default)
    if isinstance(value, list) and len(set(value)) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _fault(file, f"llama.{key}", value, "a positive whole number, the same in all layers")
    return value


def _decimal(value: float) -> float:
    """The shortest decimal that float32 stores as `value`: 1e-05 for 9.9999997e-06."""
    return float(str(np.float32(value)))


def _fault(file: GGUFFile, field: str, got: object, expected: object) -> SourceError:
    return SourceError(
        f"{file.path}: {field} is not what a llama model has",
        field=field,
        got=got,
        expected=expected,
    )
