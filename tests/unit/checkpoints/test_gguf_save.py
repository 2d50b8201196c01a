"""GGUF files that are written: opened again with equal weights and tokens, and as gguf reads them.

That llama.cpp answers from them as we do is benchmarks/llama_cpp.py's business.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from tests.unit.checkpoints import tiny
from tutelage.checkpoints.folder import folder_checkpoint
from tutelage.checkpoints.gguf import gguf_checkpoint
from tutelage.checkpoints.gguf_save import TYPES, save_gguf
from tutelage.checkpoints.gguf_tokenizer import KNOWN_PRE, words_of
from tutelage.checkpoints.gguf_words import NAMES, WHOLE, words
from tutelage.checkpoints.open import open_checkpoint
from tutelage.cli.main import run_command
from tutelage.errors import RequestError
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.spec import is_linear
from tutelage.nn.form import Form
from tutelage.nn.quantized import quantize
from tutelage.text.tokenizer import Tokenizer

TEXTS = ["The quick été\n\n 123", "a<|im_end|>b", "日本語 😀", "  two  spaces\tand 4567"]
FORMS = {"q8_0": Form(8), "q4_0": Form(4), "q4_1": Form(4, 32, True)}
FLOATS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def as_stored(value: torch.Tensor, weight: Any, type: str, pure: bool = False) -> torch.Tensor:
    """What a type makes of a weight [out, in]."""
    inside = is_linear(weight)
    if len(weight.shape) != 2 or not (inside or weight.role in ("embed", "head")):
        return value
    if type in FLOATS:
        return value.to(FLOATS[type]).float()
    if value.shape[1] % 32:
        return value.half().float()
    return quantize(value, FORMS[type] if inside or pure else Form(8)).weight(torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny(tmp_path_factory.mktemp("hf") / "tiny")


PURE = [(type, False) for type in TYPES] + [("q4_0", True), ("q4_1", True)]


@pytest.mark.parametrize(("type", "pure"), PURE)
def test_what_is_written_is_opened_again(
    type: str, pure: bool, folder: Path, tmp_path: Path
) -> None:
    before = folder_checkpoint(folder)
    save_gguf(before, tmp_path / "m.gguf", type, pure)
    after = gguf_checkpoint(tmp_path / "m.gguf")
    for weight in layout(before.config):
        value = before.weights[weight.hf_name].load().float()
        found = after.weights[weight.hf_name].load()
        assert torch.equal(found, as_stored(value, weight, type, pure)), weight.hf_name
    spec = spec_for(before.config)
    assert spec.read(after.config) == spec.read(before.config)
    for text in TEXTS:
        assert after.tokenizer.encode(text) == before.tokenizer.encode(text)
        assert after.tokenizer.encode_plain(text) == before.tokenizer.encode_plain(text)
    assert after.tokenizer.template == before.tokenizer.template
    assert after.tokenizer.eos_ids == before.tokenizer.eos_ids
    assert after.tokenizer.prefix == before.tokenizer.prefix
    ids = [getattr(after.tokenizer, f"{name}_id") for name in ("bos", "eos", "pad", "unk")]
    assert ids == [getattr(before.tokenizer, f"{name}_id") for name in ("bos", "eos", "pad", "unk")]


SHAPES: dict[str, dict[str, Any]] = {
    "untied": {"tie_word_embeddings": False},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads": {"head_dim": 16},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        },
        "head_dim": 128,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_positions_come_back(name: str, tmp_path: Path) -> None:
    before = folder_checkpoint(tiny.save_tiny(tmp_path / "hf", tiny.tiny_llama(**SHAPES[name])))
    save_gguf(before, tmp_path / "m.gguf", "f32")
    after = gguf_checkpoint(tmp_path / "m.gguf")
    for weight in layout(before.config):
        found = after.weights[weight.hf_name].load()
        assert torch.equal(found, before.weights[weight.hf_name].load()), weight.hf_name
    spec = spec_for(before.config)
    assert spec.read(after.config).rope == spec.read(before.config).rope


def test_the_rows_of_q_are_where_the_converter_puts_them(folder: Path, tmp_path: Path) -> None:
    save_gguf(folder_checkpoint(folder), tmp_path / "m.gguf", "f32")
    found = {t.name: t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    for name, expected in tiny.tensors(tiny.tiny_llama()).items():
        np.testing.assert_array_equal(found[name].data.reshape(expected.shape), expected)
    assert set(found) == set(tiny.tensors(tiny.tiny_llama()))


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("type", ["f16", "q4_1"])
def test_other_families_by_the_librarys_names(name: str, type: str, tmp_path: Path) -> None:
    before = open_checkpoint(f"preset:{name}-tiny", seed=1)
    save_gguf(before, tmp_path / "m.gguf", type)
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    kinds = {t.name: t.tensor_type for t in reader.tensors}
    sums = sorted(
        float(np.float32(gguf.dequantize(t.data, t.tensor_type)).astype(np.float64).sum())
        for t in reader.tensors
    )
    expected = []
    for weight in layout(before.config):
        value = before.weights[weight.hf_name].load().float()
        value = value.t() if weight.transposed else value
        expected.append(float(as_stored(value.contiguous(), weight, type).double().sum()))
    np.testing.assert_allclose(sums, sorted(expected), rtol=1e-5, atol=1e-4)
    assert kinds["blk.0.attn_norm.weight"] == gguf.GGMLQuantizationType.F32
    assert reader.fields["general.architecture"].contents() == name


def test_a_model_in_few_bits_keeps_its_numbers(tmp_path: Path) -> None:
    source = "preset:llama-tiny"
    code = run_command(["quantize", source, "--bits", "4", "--out", str(tmp_path / "few"),
                        "--texts", "1", "--quiet"])  # fmt: skip
    assert code == 0
    before = open_checkpoint(str(tmp_path / "few"))
    save_gguf(before, tmp_path / "m.gguf", "q4_1")
    after = gguf_checkpoint(tmp_path / "m.gguf")
    for name, reader in before.weights.items():
        whole = reader.shape[-1] % 32 == 0  # others are written in 16 bits
        near = 0.0 if whole else 1e-3
        torch.testing.assert_close(
            after.weights[name].load(), reader.load().float(), rtol=near, atol=0
        )


@pytest.mark.parametrize("pre", NAMES)
def test_every_way_of_cutting_words_is_told_by_its_name(pre: str) -> None:
    assert pre in KNOWN_PRE
    known = words_of(pre)
    assert known is not None
    document = json.loads(tiny.TOKENIZER.json)
    document["pre_tokenizer"], document["normalizer"] = known
    document["model"]["ignore_merges"] = pre in WHOLE
    tokenizer = Tokenizer(json.dumps(document), tiny.TOKENIZER.special)
    assert words(tokenizer, tokenizer.vocabulary + 3).pre == pre
    document["pre_tokenizer"] = {"type": "Whitespace"}
    other = Tokenizer(json.dumps(document), tiny.TOKENIZER.special)
    with pytest.raises(RequestError, match="cuts text") as caught:
        words(other, other.vocabulary)
    assert caught.value.field == "tokenizer.json: pre_tokenizer"


def test_rows_without_a_token_are_unused(folder: Path, tmp_path: Path) -> None:
    model = tiny.tiny_llama(vocab_size=tiny.VOCABULARY + 5)
    before = folder_checkpoint(tiny.save_tiny(tmp_path / "hf", model))
    save_gguf(before, tmp_path / "m.gguf", "f32")
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["tokenizer.ggml.token_type"].contents()[-5:] == [5] * 5
    after = gguf_checkpoint(tmp_path / "m.gguf")
    assert after.config["vocab_size"] == tiny.VOCABULARY + 5
    assert after.tokenizer.encode(TEXTS[0]) == before.tokenizer.encode(TEXTS[0])


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = run_command(["model", "export", *map(str, arguments), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "m.gguf", tmp_path / "hf"
    tiny_model = "preset:llama-tiny"
    code, found = called(capsys, tiny_model, "--to", "gguf", "--type", "q8_0", "--out", file)
    assert code == 0 and found["bytes"] == file.stat().st_size and len(found["sha256"]) == 64
    code, found = called(capsys, file, "--to", "hf", "--type", "f32", "--out", out)
    assert code == 0 and folder_checkpoint(out).tokenizer.template
    for options, field in (
        ([tiny_model, "--to", "hf", "--type", "q4_0", "--out", tmp_path / "x"], "--type"),
        ([tiny_model, "--to", "gguf", "--out", tmp_path / "x"], "--out"),
        ([tiny_model, "--to", "gguf", "--type", "q5", "--out", file], "--type"),
        ([tiny_model, "--to", "gguf", "--type", "q8_0", "--pure", "--out", file], "--pure"),
        ([tiny_model, "--to", "hf", "--pure", "--out", tmp_path / "x"], "--pure"),
        (["preset:bert-tiny", "--to", "gguf", "--out", file], "--to"),
        (["preset:mistral-tiny", "--to", "gguf", "--out", file], "config.json: sliding_window"),
    ):
        code, found = called(capsys, *options)
        assert code == 2 and found["error"]["field"] == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hidden_act": "gelu"}, "config.json: hidden_act"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "config.json: rope_scaling"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(
    changes: dict[str, Any], field: str, folder: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    before = folder_checkpoint(folder)
    config = {**before.config, **changes}
    config.pop("rope_parameters", None)
    with pytest.raises(RequestError) as caught:
        save_gguf(replace(before, config=config), tmp_path / "m.gguf", "f16")
    assert caught.value.field == field and not (tmp_path / "m.gguf").exists()
