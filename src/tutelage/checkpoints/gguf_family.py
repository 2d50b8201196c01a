"""The architectures that GGUF files are read of: their names there and in Hugging Face's files.

`llama` is Llama, Mistral, SmolLM ...; `qwen2`, `qwen3` and `gpt2` are themselves. Names of tensors
and metadata are those of the `gguf` library's tables (gguf-py/gguf/constants.py of llama.cpp).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.checkpoints.gguf_file import GGUFFile
from tutelage.checkpoints.gguf_rope import rope_scaling
from tutelage.errors import SourceError

ROTARY = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
ROTARY_BLOCK = {
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
NORMED = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
GPT2 = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
GPT2_BLOCK = {
    "attn_norm": "ln_1",
    "ffn_norm": "ln_2",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
OPTIONAL = "output"
"""Left out where the head is the token table."""
_STORED = {"F16": "float16", "BF16": "bfloat16"}

Config = Callable[[GGUFFile, Mapping[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """One architecture. `biases` may have one beside their weight, with `must` they have; of
    `paired` families the rows of q and k stand in pairs; `turned` matrices are held the other way
    round by Hugging Face."""

    name: str
    whole: Mapping[str, str]
    blocks: str
    block: Mapping[str, str]
    config: Config
    biases: frozenset[str] = frozenset()
    must: bool = True
    paired: bool = False
    turned: frozenset[str] = frozenset()

    def has(self, part: str, kind: str, table: Mapping[str, str]) -> bool:
        """Whether a tensor of this part and kind (weight, bias) has a place."""
        return part in table and (kind == "weight" or (kind == "bias" and part in self.biases))

    def needed(self, layers: int) -> Iterator[str]:
        """The tensors that every file has."""
        parts = [part for part in self.whole if part != OPTIONAL]
        for stem in (*parts, *(f"blk.{n}.{part}" for n in range(layers) for part in self.block)):
            yield f"{stem}.weight"
            if self.must and stem.rpartition(".")[2] in self.biases:
                yield f"{stem}.bias"


def family_of(file: GGUFFile) -> Family:
    """Raises SourceError for an architecture that is not read."""
    found = file.metadata.get("general.architecture")
    if found not in FAMILIES:
        raise fault(file, "general.architecture", found, "one of " + ", ".join(FAMILIES))
    experts = file.metadata.get(f"{found}.expert_count", 0)
    if experts:
        raise fault(file, f"{found}.expert_count", experts, "no experts")
    return FAMILIES[found]


def number(file: GGUFFile, key: str, default: int | None = None) -> int:
    """A positive whole number of the architecture; a list of equal ones counts as one. Raises
    SourceError."""
    name = f"{file.metadata['general.architecture']}.{key}"
    value = file.metadata.get(name, default)
    if isinstance(value, list) and len(set(value)) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise fault(file, name, value, "a positive whole number, the same in all layers")
    return value


def fault(file: GGUFFile, field: str, got: object, expected: object) -> SourceError:
    """What is wrong with an entry of the file."""
    return SourceError(
        f"{file.path}: {field} is not what a model of this architecture has",
        field=field,
        got=got,
        expected=expected,
    )


def _decimal(value: float) -> float:
    """The shortest decimal that float32 stores as `value`: 1e-05 for 9.9999997e-06."""
    return float(str(np.float32(value)))


def _stored(file: GGUFFile, names: Mapping[str, str]) -> str:
    """The type of 16 bits that the blocks' weights have, as config.json names it, else float32."""
    kept = {_STORED.get(file.tensors[name].type.name) for name in names.values() if "blk" in name}
    return next((one for one in kept - {None} if one is not None), "float32")


def _common(file: GGUFFile, names: Mapping[str, str], architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": file.metadata["general.architecture"],
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "initializer_range": 0.02,
        "tie_word_embeddings": "lm_head.weight" not in names,
        "use_cache": True,
        "torch_dtype": _stored(file, names),
    }


def _rotary(file: GGUFFile, names: Mapping[str, str], architecture: str) -> dict[str, Any]:
    """What the families with rotary positions have in common."""
    name = file.metadata["general.architecture"]
    heads = number(file, "attention.head_count")
    width = number(file, "embedding_length")
    head_width = number(file, "attention.key_length", default=width // max(heads, 1))
    rotated = number(file, "rope.dimension_count", default=head_width)
    if rotated != head_width:
        raise fault(file, f"{name}.rope.dimension_count", rotated, f"the whole head, {head_width}")
    theta = float(file.metadata.get(f"{name}.rope.freq_base", 10000.0))
    context = number(file, "context_length")
    return _common(file, names, architecture) | {
        "hidden_size": width,
        "intermediate_size": number(file, "feed_forward_length"),
        "num_hidden_layers": number(file, "block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number(file, "attention.head_count_kv", default=heads),
        "head_dim": head_width,
        "max_position_embeddings": context,
        "hidden_act": "silu",
        "rms_norm_eps": _decimal(
            file.metadata.get(f"{name}.attention.layer_norm_rms_epsilon", 1e-5)
        ),
        "rope_theta": theta,
        "rope_scaling": rope_scaling(file, theta, head_width, context),
        "attention_dropout": 0.0,
    }


def _llama_config(file: GGUFFile, names: Mapping[str, str]) -> dict[str, Any]:
    return _rotary(file, names, "LlamaForCausalLM") | {
        "attention_bias": any(name.endswith("q_proj.bias") for name in names),
        "mlp_bias": any(name.endswith("up_proj.bias") for name in names),
    }


def _qwen2_config(file: GGUFFile, names: Mapping[str, str]) -> dict[str, Any]:
    return _rotary(file, names, "Qwen2ForCausalLM") | {"use_sliding_window": False}


def _qwen3_config(file: GGUFFile, names: Mapping[str, str]) -> dict[str, Any]:
    found = _rotary(file, names, "Qwen3ForCausalLM")
    return found | {"use_sliding_window": False, "attention_bias": False}


def _gpt2_config(file: GGUFFile, names: Mapping[str, str]) -> dict[str, Any]:
    context = number(file, "context_length")
    rows = file.tensors["position_embd.weight"].shape[0]
    if context != rows:
        raise fault(file, "gpt2.context_length", context, f"the rows of position_embd, {rows}")
    return _common(file, names, "GPT2LMHeadModel") | {
        "n_positions": context,
        "n_embd": number(file, "embedding_length"),
        "n_inner": number(file, "feed_forward_length"),
        "n_layer": number(file, "block_count"),
        "n_head": number(file, "attention.head_count"),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": _decimal(
            file.metadata.get("gpt2.attention.layer_norm_epsilon", 1e-5)
        ),
    }


_PROJECTIONS = frozenset(part for part in ROTARY_BLOCK if not part.endswith("norm"))
FAMILIES = {
    one.name: one
    for one in (
        Family("llama", ROTARY, "model.layers", ROTARY_BLOCK, _llama_config, _PROJECTIONS,
               must=False, paired=True),
        Family("qwen2", ROTARY, "model.layers", ROTARY_BLOCK, _qwen2_config,
               frozenset({"attn_q", "attn_k", "attn_v"})),
        Family("qwen3", ROTARY, "model.layers", ROTARY_BLOCK | NORMED, _qwen3_config),
        Family("gpt2", GPT2, "transformer.h", GPT2_BLOCK, _gpt2_config,
               frozenset({"output_norm", *GPT2_BLOCK}),
               turned=frozenset(part for part in GPT2_BLOCK if not part.endswith("norm"))),
    )
}  # fmt: skip
