"""GGUF files become the model they were made from: equal logits in transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.gguf_file import read_gguf
from tutelage.checkpoints.gguf_rope import FREQUENCIES, llama3_divisors
from tutelage.checkpoints.save import save_folder
from tutelage.errors import SourceError

SHAPES: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "all-heads": {"num_key_value_heads": 4},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide-heads": {"head_dim": 16},
    "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
}


def logits(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 17, 100, 42, 7, 300, 301, 9]])
    with torch.inference_mode():
        return model(ids).logits


def reopened(path: Path, folder: Path) -> Any:
    save_folder(None, gguf_checkpoint(path), folder, dtype="float32")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.mark.parametrize("name", SHAPES)
def test_logits_survive_the_way_through_gguf(name: str, tmp_path: Path) -> None:
    model = tiny.tiny_llama(**SHAPES[name])
    path = tiny.write_gguf(tmp_path / "tiny.gguf", model)
    torch.testing.assert_close(
        logits(reopened(path, tmp_path / "out")), logits(model), atol=1e-5, rtol=1e-5
    )
    checkpoint = gguf_checkpoint(path)
    assert checkpoint.licence == "mit"
    assert checkpoint.bytes == path.stat().st_size
    total = sum(math.prod(weight.shape) for weight in checkpoint.weights.values())
    assert total == model.num_parameters()


def test_a_missing_output_bias_is_zero(tmp_path: Path) -> None:
    model = tiny.tiny_llama(attention_bias=True)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.bias.zero_()
    written = tiny.tensors
    kept = {k: v for k, v in written(model).items() if not k.endswith("attn_output.bias")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "tensors", lambda _: kept)
        path = tiny.write_gguf(tmp_path / "tiny.gguf", model)
    torch.testing.assert_close(
        logits(reopened(path, tmp_path / "out")), logits(model), atol=1e-5, rtol=1e-5
    )


def test_the_tokenizer_and_template_come_along(tmp_path: Path) -> None:
    checkpoint = gguf_checkpoint(tiny.write_gguf(tmp_path / "t.gguf", tiny.tiny_llama()))
    for text in ("The quick été\n\n 123", "a<|im_end|>b", "日本語 😀"):
        assert checkpoint.tokenizer.encode(text) == tiny.TOKENIZER.encode(text)
        assert checkpoint.tokenizer.encode_plain(text) == tiny.TOKENIZER.encode_plain(text)
    assert checkpoint.tokenizer.template == tiny.CHATML
    assert checkpoint.tokenizer.eos_ids == {tiny.TOKENIZER.eos_id}
    assert checkpoint.generation_config["eos_token_id"] == tiny.TOKENIZER.eos_id


@pytest.mark.parametrize(
    ("metadata", "parameters"),
    [
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
            {"rope_type": "linear", "factor": 4.0},
        ),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 32,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        ),
        ({"llama.rope.scaling.type": "none"}, {"rope_type": "default"}),
    ],
)
def test_rope_scaling_in_the_metadata(
    metadata: dict[str, Any], parameters: dict[str, Any], tmp_path: Path
) -> None:
    model = tiny.tiny_llama(rope_parameters={**parameters, "rope_theta": 10000.0})
    path = tiny.write_gguf(tmp_path / "tiny.gguf", model, **metadata)
    torch.testing.assert_close(
        logits(reopened(path, tmp_path / "out")), logits(model), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("factor", "high", "original"), [(8.0, 4.0, 8192), (32.0, 4.0, 8192)])
def test_llama3_scaling_is_found_in_its_divisors(
    factor: float, high: float, original: int, tmp_path: Path
) -> None:
    theta, width = 500000.0, 128
    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
    inverse = theta ** (-np.arange(0, width, 2) / width) / (2 * math.pi)
    model = tiny.tiny_llama(
        hidden_size=256,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=width,
        rope_parameters={**scaling, "rope_theta": theta},
    )
    tensors = tiny.tensors(model)
    tensors[FREQUENCIES] = llama3_divisors(scaling, inverse).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "tensors", lambda _: tensors)
        path = tiny.write_gguf(tmp_path / "tiny.gguf", model)
    assert gguf_checkpoint(path).config["rope_scaling"] == scaling
    torch.testing.assert_close(
        logits(reopened(path, tmp_path / "out")), logits(model), atol=1e-4, rtol=1e-4
    )


def test_divisors_are_those_of_transformers() -> None:
    model = tiny.tiny_llama(
        hidden_size=256,
        num_attention_heads=2,
        head_dim=128,
        rope_parameters={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_theta": 500000.0,
        },
    )
    plain = 500000.0 ** (-np.arange(0, 128, 2) / 128)
    divisors = llama3_divisors(dict(model.config.rope_parameters), plain / (2 * math.pi))
    theirs = model.model.rotary_emb.inv_freq.numpy()
    np.testing.assert_allclose(plain / divisors, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"general.architecture": "gemma"}, "general.architecture"),
        ({"llama.expert_count": 8}, "llama.expert_count"),
        ({"llama.block_count": 2**31}, "llama.block_count"),
        ({"llama.block_count": 3}, "blk.2.attn_norm.weight"),
        ({"llama.block_count": 1}, "blk.1.attn_norm.weight"),
        ({"llama.embedding_length": None}, "llama.embedding_length"),
        ({"llama.attention.head_count": [4, 2]}, "llama.attention.head_count"),
        ({"llama.attention.head_count": "four"}, "llama.attention.head_count"),
        ({"llama.rope.dimension_count": 4}, "llama.rope.dimension_count"),
        (
            {"llama.rope.scaling.type": "longrope", "llama.rope.scaling.factor": 2.0},
            "llama.rope.scaling.type",
        ),
        ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model"),
        ({"tokenizer.ggml.pre": "unheard-of"}, "tokenizer.ggml.pre"),
        ({"tokenizer.ggml.pre": None}, "tokenizer.ggml.pre"),
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens"),
        ({"tokenizer.ggml.merges": ["a"]}, "tokenizer.ggml.merges"),
        ({"tokenizer.ggml.merges": ["a zz-unknown"]}, "tokenizer.ggml.merges"),
        ({"tokenizer.ggml.eos_token_id": 10**6}, "tokenizer.ggml.eos_token_id"),
        ({"tokenizer.ggml.tokens": ["a", "b"], "tokenizer.ggml.merges": ["a b"],
          "tokenizer.ggml.token_type": [1, 1, 1]}, "tokenizer.ggml.token_type"),
    ],
)  # fmt: skip
def test_what_cannot_be_opened_is_named(
    metadata: dict[str, Any], field: str, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    architecture = metadata.pop("general.architecture", None)
    if architecture is not None:
        writer = gguf.GGUFWriter(path, architecture)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    else:
        tiny.write_gguf(path, tiny.tiny_llama(), **metadata)
    with pytest.raises(SourceError, match=r"tiny\.gguf") as caught:
        gguf_checkpoint(path)
    assert caught.value.field == field


def test_types_are_dequantized_as_the_library_does(tmp_path: Path) -> None:
    path = tmp_path / "types.gguf"
    values = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(path, "llama")
    kinds = gguf.GGMLQuantizationType
    types = [kinds.F32, kinds.F16, kinds.BF16, kinds.Q8_0, kinds.Q4_0, kinds.Q4_1, kinds.Q5_1]
    for kind in types:
        if kind in (kinds.F32, kinds.F16):
            writer.add_tensor(kind.name, values.astype({0: np.float32, 1: np.float16}[kind.value]))
        else:
            writer.add_tensor(kind.name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = read_gguf(path)
    for kind in types:
        assert file.tensors[kind.name].shape == (4, 64)
        theirs = gguf.dequantize(gguf.quantize(values, kind), kind)
        np.testing.assert_array_equal(file.read(kind.name), theirs)


@pytest.mark.real
def test_smollm2_is_read_whole(smollm2: Path, tmp_path: Path) -> None:
    checkpoint = gguf_checkpoint(smollm2)
    total = sum(math.prod(weight.shape) for weight in checkpoint.weights.values())
    assert total == 134_515_008
    assert checkpoint.licence == "apache-2.0"
    assert checkpoint.config["tie_word_embeddings"] is True
    assert checkpoint.config["rms_norm_eps"] == 1e-5
    reader = gguf.GGUFReader(smollm2)
    theirs = {tensor.name: tensor for tensor in reader.tensors}
    for ours, name in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.29.mlp.down_proj.weight", "blk.29.ffn_down.weight"),
        ("model.layers.7.self_attn.v_proj.weight", "blk.7.attn_v.weight"),
    ):
        expected = gguf.dequantize(theirs[name].data, theirs[name].tensor_type)
        np.testing.assert_array_equal(checkpoint.weights[ours].load().numpy(), expected)
    save_folder(None, checkpoint, tmp_path / "out", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    with torch.inference_mode():
        answer = model.generate(**ids, max_new_tokens=16, do_sample=False)
    text = tokenizer.decode(answer[0][ids["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in text
