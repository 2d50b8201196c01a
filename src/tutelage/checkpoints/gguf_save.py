"""Write a model as one GGUF file, which llama.cpp opens: weights, tokenizer, template, end tokens.

By the `gguf` library, tensor by tensor. What llama.cpp wants otherwise than Hugging Face's files
have it: names (the library's table), rows of q and k of the llama family with the channels of a
head in pairs (0, d/2, 1, d/2 + 1 ...) where Hugging Face has halves, Llama 3's RoPE scaling as one
divisor a frequency. Layout: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from gguf import GGUFWriter, LlamaFileType, get_tensor_name_map
from gguf.constants import GGML_QUANT_SIZES, GGML_QUANT_VERSION, MODEL_ARCH_NAMES
from gguf.constants import GGMLQuantizationType as Kind
from gguf.gguf_writer import WriterState

from tutelage import store
from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.gguf_rope import FREQUENCIES, llama3_divisors
from tutelage.checkpoints.gguf_words import Words, words
from tutelage.checkpoints.matched import matched
from tutelage.errors import RequestError
from tutelage.models.catalogue import spec_for
from tutelage.models.spec import Shape, Weight, is_linear

if TYPE_CHECKING:
    import torch

FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3",
            "gpt2": "gpt2"}  # fmt: skip
"""Our architectures -> llama.cpp's."""
TYPES = {
    "f32": (Kind.F32, Kind.F32, LlamaFileType.ALL_F32),
    "f16": (Kind.F16, Kind.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (Kind.BF16, Kind.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (Kind.Q8_0, Kind.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (Kind.Q4_0, Kind.Q8_0, LlamaFileType.MOSTLY_Q4_0),
    "q4_1": (Kind.Q4_1, Kind.Q8_0, LlamaFileType.MOSTLY_Q4_1),
}
"""How the blocks' matrices are written, how token table and head unless `pure`, and the file's
name."""
TABLES = ("embed", "head")
PAIRED = ("attn.q", "attn.k")


@dataclass(frozen=True)
class Planned:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]
    kind: Kind
    weight: Weight
    reader: WeightReader
    heads: int | None
    """Of how many heads rows are put in pairs."""

    @property
    def bytes(self) -> int:
        block, size = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // block * size


def save_gguf(checkpoint: Checkpoint, path: Path, type: str, pure: bool = False) -> None:
    """Write the file whole or not at all; with `pure` token table and head are as the blocks.

    Raises RequestError for an architecture, a RoPE scaling or a tokenizer that llama.cpp has not.
    """
    spec = spec_for(checkpoint.config)
    config = spec.read(checkpoint.config)
    sizes = spec.shape(config)
    architecture = _architecture(spec.name, config, sizes)
    vocabulary = words(checkpoint.tokenizer, sizes.vocabulary)
    weights = list(spec.layout(config))
    planned = list(_planned(checkpoint, spec, weights, architecture, sizes, type, pure))
    with store.new_file(path) as file:
        writer = _Onto(file, architecture)
        _describe(writer, checkpoint, config, sizes, weights, type)
        _words(writer, vocabulary, checkpoint.tokenizer.template)
        divisors = _rope(writer, config, sizes)
        if divisors is not None:
            writer.add_tensor_info(FREQUENCIES, divisors.shape, divisors.dtype, divisors.nbytes)
        for one in planned:
            kind = np.dtype(np.float32)
            writer.add_tensor_info(one.name, one.shape, kind, one.bytes, raw_dtype=one.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if divisors is not None:
            writer.write_tensor_data(divisors)
        for one in planned:
            writer.write_tensor_data(_values(one))


class _Onto(GGUFWriter):
    """The library's writer on a file that is open already and is closed elsewhere."""

    def __init__(self, file: BinaryIO, architecture: str) -> None:
        super().__init__(None, architecture)
        self.file = file

    def open_output_file(self, path: Path | None = None) -> None:
        self.fout = [self.file]
        self.state = WriterState.EMPTY


def _architecture(name: str, config: Any, sizes: Shape) -> str:
    """llama.cpp's name. Raises RequestError for one it has not, or reads otherwise."""
    if name not in FAMILIES:
        raise RequestError(
            "this architecture is not written to GGUF files", field="--to", got=name,
            expected="one of " + ", ".join(FAMILIES), hint="--to hf writes a model folder",
        )  # fmt: skip
    windows = [window for window in getattr(config, "windows", ()) if window is not None]
    if windows and min(windows) < (sizes.context or 0):
        raise RequestError(
            "a window that attention is cut to is not written to GGUF files",
            field="config.json: sliding_window", got=min(windows),
            expected=f"none, or {sizes.context} or more",
        )  # fmt: skip
    usual = "gelu_new" if name == "gpt2" else "silu"
    activation = getattr(config, "activation", None) or config.activation_function
    if activation not in (usual, "swish" if usual == "silu" else usual):
        raise RequestError(
            "llama.cpp computes this architecture with another activation",
            field="config.json: hidden_act", got=activation, expected=usual,
        )  # fmt: skip
    return FAMILIES[name]


def _planned(
    checkpoint: Checkpoint, spec: Any, weights: list[Weight], architecture: str, sizes: Shape,
    type: str, pure: bool,
) -> Iterator[Planned]:  # fmt: skip
    readers = matched(checkpoint, spec, weights)
    known = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(known, sizes.layers)
    heads = {"attn.q": sizes.heads, "attn.k": sizes.kv_heads} if architecture == "llama" else {}
    for weight in weights:
        name = names.get_name(weight.hf_name, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise RequestError(
                "the weight has no name in GGUF files", field=weight.hf_name, got=architecture
            )
        count = heads.get(weight.role.removesuffix(".bias"))
        kind = _kind(weight, type, pure)
        yield Planned(name, weight.shape, kind, weight, readers[weight.path], count)


def _kind(weight: Weight, type: str, pure: bool) -> Kind:
    """Of a weight. Rows that are no whole blocks stay in 16 bits, as llama.cpp leaves them."""
    blocks, tables, _ = TYPES[type]
    inside = is_linear(weight)
    if len(weight.shape) != 2 or not (inside or weight.role in TABLES):
        return Kind.F32
    found = blocks if inside or pure else tables
    return Kind.F16 if weight.shape[1] % GGML_QUANT_SIZES[found][0] else found


def _values(one: Planned) -> np.ndarray:
    """As the file has them, in bytes where there are blocks."""
    from tutelage.nn.form import Form
    from tutelage.nn.quantized import Codes, quantize

    forms = {Kind.Q8_0: Form(8), Kind.Q4_0: Form(4), Kind.Q4_1: Form(4, 32, True)}
    form = forms.get(one.kind)
    few = getattr(one.reader, "codes", None) if form is not None else None
    held: Codes | None = None if few is None else few()
    if form is None or held is None or held.form != form:
        wide = one.reader.load()
        wide = wide.t() if one.weight.transposed else wide
        wide = wide.reshape(one.weight.shape).float()
        if form is None:
            return _plain(_paired(wide, one.heads), one.kind)
        held = quantize(wide, form)
    parts = [held.scales, *([] if held.minimums is None else [held.minimums]), held.numbers]
    return blocks([_paired(part, one.heads) for part in parts])


def blocks(parts: list[torch.Tensor]) -> np.ndarray:
    """Scales, minimums and numbers of each group side by side, [rows, bytes]."""
    import torch

    joined = torch.cat([part.contiguous().view(torch.uint8) for part in parts], -1)
    return joined.flatten(1).contiguous().numpy()


def _plain(wide: torch.Tensor, kind: Kind) -> np.ndarray:
    import torch

    if kind == Kind.BF16:
        return wide.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
    return wide.to(torch.float16 if kind == Kind.F16 else torch.float32).contiguous().numpy()


def _paired(values: torch.Tensor, heads: int | None) -> torch.Tensor:
    """Rows of each head from half order (0, 1, ... d-1) to pair order (0, d/2, 1, d/2+1 ...)."""
    if heads is None:
        return values
    halves = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return halves.transpose(1, 2).reshape(values.shape)


def _describe(
    writer: GGUFWriter, checkpoint: Checkpoint, config: Any, sizes: Shape, weights: list[Weight],
    type: str,
) -> None:  # fmt: skip
    """The architecture's numbers."""
    hidden = next(w.shape[0] for w in weights if w.role == "mlp.up" and len(w.shape) == 2)
    writer.add_name(checkpoint.source)
    if checkpoint.licence:
        writer.add_license(checkpoint.licence)
    writer.add_block_count(sizes.layers)
    writer.add_context_length(sizes.context or 0)
    writer.add_embedding_length(sizes.width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.kv_heads)
    writer.add_vocab_size(sizes.vocabulary)
    writer.add_file_type(TYPES[type][2])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_key_length(sizes.head_width)
        writer.add_value_length(sizes.head_width)
        writer.add_rope_dimension_count(sizes.head_width)
    else:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _rope(writer: GGUFWriter, config: Any, sizes: Shape) -> np.ndarray | None:
    """Rotary positions; returns the divisors of Llama 3's scaling. Raises RequestError."""
    from gguf.constants import RopeScalingType

    rope = getattr(config, "rope", None)
    if rope is None:
        return None
    writer.add_rope_freq_base(rope.rope_theta)
    if rope.rope_type == "llama3":
        inverse = rope.rope_theta ** (-np.arange(0, sizes.head_width, 2) / sizes.head_width)
        return llama3_divisors(vars(rope), inverse / (2 * math.pi)).astype(np.float32)
    if rope.rope_type in ("linear", "yarn"):
        yarn = rope.rope_type == "yarn"
        writer.add_rope_scaling_type(RopeScalingType.YARN if yarn else RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope.factor)
        if yarn:
            original = rope.original_max_position_embeddings
            writer.add_rope_scaling_orig_ctx_len(original or sizes.context)
    if rope.rope_type == "dynamic" or rope.attention_factor is not None:
        raise RequestError(
            "this RoPE scaling is not written to GGUF files",
            field="config.json: rope_scaling", got=rope.rope_type,
            expected="none, linear, yarn or llama3",
        )  # fmt: skip
    return None


def _words(writer: GGUFWriter, vocabulary: Words, template: str | None) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    for name, id in vocabulary.ids.items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", id)
    writer.add_add_bos_token(vocabulary.starts)
    if template is not None:
        writer.add_chat_template(template)
