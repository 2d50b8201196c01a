"""Tiny random models in the formats that sources come in, made by transformers and gguf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.unit.text.vocabularies import byte_level_bpe
from tutelage.text.byte_level import CHATML

TOKENIZER = byte_level_bpe(template=CHATML, eos="<|im_end|>", bos="<s>", pad="</s>")
VOCABULARY = TOKENIZER.vocabulary


def tiny_llama(**changes: Any) -> LlamaForCausalLM:
    """A random Llama in float32, its norms and biases random too."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "bos_token_id": TOKENIZER.bos_id,
        "eos_token_id": TOKENIZER.eos_id,
        "pad_token_id": TOKENIZER.pad_id,
    }
    model = LlamaForCausalLM(LlamaConfig(**settings | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.ndim == 1))
    return model


def save_tiny(folder: Path, model: LlamaForCausalLM | None = None, **options: Any) -> Path:
    """A Hugging Face folder as transformers writes it."""
    (model or tiny_llama()).save_pretrained(folder, **options)
    TOKENIZER.to_files(folder)
    return folder


def paired(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head from (0, 1, ... d-1) to (0, d/2, 1, d/2+1, ...), one row at a time: what
    llama.cpp's converter does to q and k."""
    width = weight.shape[0] // heads
    rows = [
        head * width + channel + half * (width // 2)
        for head in range(heads)
        for channel in range(width // 2)
        for half in range(2)
    ]
    return weight[rows]


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    **metadata: Any,
) -> Path:
    """The model as a GGUF file, its matrices stored as `kind`; `metadata` is added or replaces
    (None: left out)."""
    config = model.config
    values: dict[str, Any] = {
        "general.license": "mit",
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.key_length": config.head_dim,
        "llama.rope.dimension_count": config.head_dim,
        "llama.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        **tokenizer_metadata(),
    }
    return write_file(path, "llama", values | metadata, tensors(model), kind)


def write_file(
    path: Path,
    architecture: str,
    metadata: dict[str, Any],
    held: dict[str, np.ndarray],
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
) -> Path:
    """A GGUF file of these tensors by the library, matrices stored as `kind`."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        add(writer, key, value)
    for name, tensor in held.items():
        stored = kind if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    if value is None:
        return
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    else:
        kinds[type(value)](key, value)


def tokenizer_metadata() -> dict[str, Any]:
    import json

    model = json.loads(TOKENIZER.json)["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [
            3 if id in TOKENIZER.control_ids else 1 for id in range(len(tokens))
        ],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": TOKENIZER.bos_id,
        "tokenizer.ggml.eos_token_id": TOKENIZER.eos_id,
        "tokenizer.ggml.padding_token_id": TOKENIZER.pad_id,
        "tokenizer.chat_template": CHATML,
    }


def tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """By the converter's names; written out, so that it shares no table with what it tests."""
    config = model.config
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    out = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    if not config.tie_word_embeddings:
        out["output.weight"] = state["lm_head.weight"]
    for layer in range(config.num_hidden_layers):
        theirs, ours = f"model.layers.{layer}", f"blk.{layer}"
        out[f"{ours}.attn_norm.weight"] = state[f"{theirs}.input_layernorm.weight"]
        out[f"{ours}.ffn_norm.weight"] = state[f"{theirs}.post_attention_layernorm.weight"]
        for kind in ("weight", "bias"):
            for mine, their in (("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj")):
                value = state.get(f"{theirs}.self_attn.{their}.{kind}")
                if value is not None:
                    count = {"q": heads, "k": shared}.get(mine)
                    out[f"{ours}.attn_{mine}.{kind}"] = paired(value, count) if count else value
            for mine, their in (
                ("attn_output", "self_attn.o_proj"),
                ("ffn_gate", "mlp.gate_proj"),
                ("ffn_up", "mlp.up_proj"),
                ("ffn_down", "mlp.down_proj"),
            ):
                if f"{theirs}.{their}.{kind}" in state:
                    out[f"{ours}.{mine}.{kind}"] = state[f"{theirs}.{their}.{kind}"]
    return out
