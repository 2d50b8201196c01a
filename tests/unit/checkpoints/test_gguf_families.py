"""GGUF files of Qwen2, Qwen3 and GPT-2 become the model they were made from: equal logits.

The files are written by the `gguf` library, by the converter's names as they are written out here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.build import build
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.gguf_save import save_gguf
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.data.pack import Example
from tutelage.errors import SourceError
from tutelage.generate.rows import Rows

IDS = (5, 17, 100, 42, 7, 300, 301, 9)
SHARED = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 128}  # fmt: skip
ROTARY = (
    ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"), ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"), ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"), ("output", "lm_head"),
)  # fmt: skip
GPT2 = (
    ("attn_norm", "ln_1"), ("ffn_norm", "ln_2"), ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"), ("ffn_up", "mlp.c_fc"), ("ffn_down", "mlp.c_proj"),
    ("token_embd", "transformer.wte"), ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"), ("output", "lm_head"),
)  # fmt: skip
CHANGES: dict[str, list[dict[str, Any]]] = {
    "qwen2": [{}, {"tie_word_embeddings": True},
              {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6,
                                   "original_max_position_embeddings": 32}}],
    "qwen3": [{"head_dim": 16}],
    "gpt2": [{}, {"n_inner": 40}],
}  # fmt: skip
CASES = [(name, n) for name, changes in CHANGES.items() for n in range(len(changes))]


def made(name: str, changes: dict[str, Any]) -> Any:
    """A random model of transformers, norms and biases random too."""
    shared = {"vocab_size": tiny.VOCABULARY, "bos_token_id": tiny.TOKENIZER.bos_id,
              "eos_token_id": tiny.TOKENIZER.eos_id}  # fmt: skip
    torch.manual_seed(0)
    model: Any
    if name == "gpt2":
        sizes = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 64}
        model = GPT2LMHeadModel(GPT2Config(**shared | sizes | changes)).eval()
    else:
        config, kind = {"qwen2": (Qwen2Config, Qwen2ForCausalLM),
                        "qwen3": (Qwen3Config, Qwen3ForCausalLM)}[name]  # fmt: skip
        model = kind(config(**shared | SHARED | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.ndim == 1))
    return model


def tensors(name: str, model: Any) -> dict[str, np.ndarray]:
    """As llama.cpp's converter names them; GPT-2's matrices as [out, in]."""
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    blocks = "transformer.h" if name == "gpt2" else "model.layers"
    held = {}
    for key, value in state.items():
        for theirs, ours in GPT2 if name == "gpt2" else ROTARY:
            for kind in ("weight", "bias"):
                turned = (
                    name == "gpt2" and value.ndim == 2 and "." in ours.replace("transformer.", "")
                )
                found = (value.t() if turned else value).contiguous().numpy()
                if key == f"{ours}.{kind}":
                    held[f"{theirs}.{kind}"] = found
                elif key.startswith(blocks) and key.split(".", 3)[3] == f"{ours}.{kind}":
                    held[f"blk.{key.split('.')[2]}.{theirs}.{kind}"] = found
    assert len(held) == len(state)
    return held


def metadata(name: str, config: Any) -> dict[str, Any]:
    numbers = {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if name == "gpt2":
        numbers |= {
            "context_length": config.n_positions,
            "feed_forward_length": config.n_inner or 4 * config.n_embd,
            "attention.layer_norm_epsilon": config.layer_norm_epsilon,
        }
    else:
        rope = config.rope_parameters
        numbers |= {
            "context_length": config.max_position_embeddings,
            "feed_forward_length": config.intermediate_size,
            "attention.head_count_kv": config.num_key_value_heads,
            "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
            "rope.freq_base": float(rope["rope_theta"]),
        }
        if name == "qwen3":
            numbers |= {"attention.key_length": config.head_dim}
        if rope["rope_type"] == "yarn":
            numbers |= {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": rope["factor"],
                "rope.scaling.original_context_length": rope["original_max_position_embeddings"],
            }
    return {f"{name}.{key}": value for key, value in numbers.items()} | tiny.tokenizer_metadata()


def written(name: str, model: Any, path: Path, **changes: Any) -> Path:
    return tiny.write_file(path, name, metadata(name, model.config) | changes, tensors(name, model))


def ours(source: Path) -> torch.Tensor:
    """Logits after the last of some tokens, by our own model."""
    model = build(open_checkpoint(str(source)), "fp32")
    rows = Rows.of(model, 1, 32)
    with torch.inference_mode():
        return model.logits(rows.read([0], [Example.read(IDS)]))


@pytest.mark.parametrize(("name", "number"), CASES)
def test_logits_are_those_of_the_source_folder(name: str, number: int, tmp_path: Path) -> None:
    model = made(name, CHANGES[name][number])
    file = written(name, model, tmp_path / "m.gguf")
    folder = tiny.save_tiny(tmp_path / "hf", model)
    assert torch.equal(ours(file), ours(folder))
    save_folder(None, gguf_checkpoint(file), tmp_path / "back", dtype="float32")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.float32)
    with torch.inference_mode():
        expected, found = (one(torch.tensor([IDS])).logits for one in (model, theirs))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    before = open_checkpoint(f"preset:{name}-tiny", seed=1)
    save_gguf(before, tmp_path / "m.gguf", "f32")
    after = gguf_checkpoint(tmp_path / "m.gguf")
    assert set(after.weights) == set(before.weights)
    for key, reader in before.weights.items():
        assert torch.equal(after.weights[key].load(), reader.load().float()), key


def test_a_head_that_repeats_the_token_table(tmp_path: Path) -> None:
    """Converters of GPT-2 used to write it out."""
    model = made("gpt2", {})
    held = tensors("gpt2", model)
    held["output.weight"] = held["token_embd.weight"]
    file = tiny.write_file(tmp_path / "m.gguf", "gpt2", metadata("gpt2", model.config), held)
    folder = tiny.save_tiny(tmp_path / "hf", model)
    assert torch.equal(ours(file), ours(folder))


@pytest.mark.parametrize(
    ("name", "lost", "added", "changed", "field"),
    [
        ("qwen2", "blk.1.attn_k.bias", None, {}, "blk.1.attn_k.bias"),
        ("qwen2", None, "blk.0.attn_output.bias", {}, "blk.0.attn_output.bias"),
        ("qwen2", None, None, {"qwen2.expert_count": 4}, "qwen2.expert_count"),
        ("qwen2", None, None, {"qwen2.block_count": 3}, "blk.2.attn_norm.weight"),
        ("gpt2", "position_embd.weight", None, {}, "position_embd.weight"),
        ("gpt2", "output_norm.bias", None, {}, "output_norm.bias"),
        ("gpt2", None, None, {"gpt2.context_length": 65}, "gpt2.context_length"),
        ("gpt2", None, None, {"gpt2.attention.head_count": None}, "gpt2.attention.head_count"),
    ],
)
def test_what_is_not_of_the_architecture_is_named(
    name: str, lost: str | None, added: str | None, changed: dict[str, Any], field: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    model = made(name, {})
    held = {key: value for key, value in tensors(name, model).items() if key != lost}
    held |= {} if added is None else {added: np.zeros(32, np.float32)}
    path = tiny.write_file(tmp_path / "m.gguf", name, metadata(name, model.config) | changed, held)
    with pytest.raises(SourceError, match=r"m\.gguf") as caught:
        gguf_checkpoint(path)
    assert caught.value.field == field
