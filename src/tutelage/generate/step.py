"""One decoding step by the C++ kernel, where it was built and fits the model.

The same mathematics as `nn/cache.py`'s DecodeStep through the model, with float32 activations. For
a few rows it is bound by reading the weights once, where PyTorch is bound by its operators. Inputs
of products alone are rounded: to bfloat16 where the weights are and the processor multiplies pairs
of it; to whole numbers of 8 bits, 32 of them sharing a scale, where the weights are in 8 or 4 bits.
What low-rank adapters add is computed beside each product, each row's by its own adapter.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.kernels.library import (
    BatchStruct,
    CacheStruct,
    LayerStruct,
    LinearStruct,
    ModelStruct,
    library,
    pointer,
)
from tutelage.kernels.tiles import lay
from tutelage.models.forward import Model
from tutelage.models.transformer import Transformer
from tutelage.nn.attention import Attention
from tutelage.nn.block import PreNorm
from tutelage.nn.cache import Cache
from tutelage.nn.embedding import Embed, Embedding
from tutelage.nn.form import GROUP
from tutelage.nn.head import Head
from tutelage.nn.linear import Linear
from tutelage.nn.low_rank import Adapted, LowRank
from tutelage.nn.mlp import GatedMLP
from tutelage.nn.norm import RMSNorm
from tutelage.nn.quantized import AnyLinear, Held, QuantizedEmbedding, QuantizedLinear
from tutelage.nn.rope import Rope

FEW_ROWS = 6
"""As decode.cpp's FEW: with so many, each token has the bits of a step of its own."""
PARTS = (
    Transformer, nn.ModuleList, Embed, Embedding, PreNorm, Attention, GatedMLP, RMSNorm, Linear,
    Head, QuantizedLinear, QuantizedEmbedding,
)  # fmt: skip
"""What the kernel knows how to compute."""

Beside = dict[Any, LowRank]
"""Adapted modules, and what stands beside their maps."""


class Stepper:
    """The kernel bound to one model. Holds pointers into its weights, which must not move."""

    def __init__(self, model: Any, beside: Beside) -> None:
        self.model = model
        self._maps = _Maps(model, beside)
        layers = (_layer(block, self._maps.linear) for block in model.blocks)
        self._layers = (LayerStruct * len(model.blocks))(*layers)
        heads = model.heads
        head = model.head_map
        shape = head.shape if isinstance(head, Held) else head.weight.shape
        self._vocabulary: int = shape[0]
        self._struct = ModelStruct(
            half=int(model.compute == torch.bfloat16),
            layers=len(model.blocks),
            width=shape[1],
            heads=heads.query,
            key_heads=heads.key_value,
            head_width=heads.width,
            eps=model.norm.eps,
            layer=self._layers,
            norm=pointer(model.norm.weight),
            head=self._maps.of(head, None),
            ranks=self._maps.ranks,
        )
        loaded = library()
        assert loaded is not None
        self.most_rows: int = loaded.tutelage_rows(ctypes.byref(self._struct))
        """With more rows PyTorch's matrix products overtake."""

    @staticmethod
    def of(model: Model) -> Stepper | None:
        """A stepper if the library was built and can compute this model, else None."""
        if not isinstance(model, Transformer) or library() is None:
            return None
        beside = _beside(model)
        if beside is None or not _is_known(model):
            return None
        return (
            Stepper(model, beside) if _is_uniform(model) and _is_readable(model, beside) else None
        )

    def step(
        self,
        cache: Cache,
        slots: Int[Tensor, "M"],
        ids: Int[Tensor, "M"],
        ahead: Int[Tensor, "M"] | None = None,
    ) -> Float[Tensor, "M V"]:
        """Logits after one new token in each of `slots`; keys and values are kept in the cache.

        A slot may stand there more than once: its i-th token has `ahead` i, and sees those before
        it. Each token's result is to the bit that of a step of its own: keys are written before
        any are read, and no sum runs over rows.
        """
        loaded = library()
        assert loaded is not None
        lengths = cache.lengths[slots] + (0 if ahead is None else ahead)
        x = self.model.embed.tokens(ids).float().contiguous()
        cosine, sine = self.model.rope.angles(lengths)
        cosine, sine = cosine[:, 0].contiguous(), sine[:, 0].contiguous()
        logits = torch.empty(len(ids), self._vocabulary)
        table = cache.table[slots]
        held = _cache(cache, table)
        threads = torch.get_num_threads()
        size = loaded.tutelage_scratch(
            ctypes.byref(self._struct), ctypes.byref(held), len(ids), threads
        )
        scratch = torch.empty(size)
        adapter = self._maps.adapters(len(ids))
        batch = BatchStruct(
            rows=len(ids),
            length=pointer(lengths),
            cosine=pointer(cosine),
            sine=pointer(sine),
            x=pointer(x),
            logits=pointer(logits),
            scratch=pointer(scratch),
            threads=threads,
            adapter=pointer(adapter),
        )
        loaded.tutelage_step(ctypes.byref(self._struct), ctypes.byref(held), ctypes.byref(batch))
        return logits


def _is_known(model: Transformer) -> bool:
    """Whether every part is exactly what the kernel computes. A subclass may compute anything."""
    return (
        type(model.rope) is Rope
        and model.bias is None
        and model.embed.scale == 1
        and model.head is not None
        and model.head.scale == 1
        and model.head_bias is None
        and type(model.head_map) in PARTS
        and all(_is_computed(module) for module in model.modules())
    )


def _is_computed(module: nn.Module) -> bool:
    return isinstance(module, Adapted) or (type(module) in PARTS and _is_plain(module))


def _is_plain(module: nn.Module) -> bool:
    """Whether a part does nothing beyond what the kernel does in its place."""
    if isinstance(module, Attention):
        return module.rule.plain and module.q_norm is None and module.rotates
    if isinstance(module, PreNorm):
        return module.cross is None
    if isinstance(module, GatedMLP):
        return module.activation in ("silu", "swish")
    if isinstance(module, RMSNorm):
        return module.offset == 0
    return True


def _is_uniform(model: Any) -> bool:
    """Whether all layers have the shapes of the first, and all norms one eps: the kernel is told
    them once."""
    shapes = {(b.attn.heads, b.attn.q.shape, b.attn.o.shape, b.mlp.up.shape) for b in model.blocks}
    eps = {module.eps for module in model.modules() if isinstance(module, RMSNorm)}
    return len(shapes) == len(eps) == 1


def _is_readable(model: Any, beside: Beside) -> bool:
    """Whether the weights are of the type computed in, which the kernel has, and in its memory; it
    reads bfloat16 weights two by two, so what the products sum over must be even. Weights in few
    bits meet activations in few bits, which only models computed in bfloat16 put up with."""
    types = {parameter.dtype for parameter in model.parameters()}
    types |= {part.dtype for found in beside.values() for part in (found.down, found.up)}
    held = [module for module in model.modules() if isinstance(module, Held)]
    devices = {tensor.device.type for tensor in (*model.parameters(), *model.buffers())}
    attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
    even = all(linear.shape[1] % 2 == 0 for linear in (attn.q, attn.o, mlp.down))
    kind = model.compute
    if held and (kind != torch.bfloat16 or any(one.form.group != GROUP for one in held)):
        return False
    return (
        types == {kind} and kind in (torch.bfloat16, torch.float32) and devices == {"cpu"} and even
    )


class _Maps:
    """The linear maps as the kernel reads them, and what it points to that no model holds: weights
    in few bits laid out anew, and what adapters put beside a map."""

    def __init__(self, model: Any, beside: Beside) -> None:
        self._kept: list[Tensor] = []
        self._tiles = _tiles(model)
        self._beside = beside
        self.ranks = max((one.most for one in beside.values()), default=0)
        """Of the widest adapter."""
        self._adapters = next((one.adapters for one in beside.values()), None)

    def adapters(self, rows: int) -> Int[Tensor, "M"] | None:
        """Of each row of the next step, -1 for none."""
        return None if self._adapters is None else self._adapters(rows)

    def linear(self, module: AnyLinear | Adapted) -> LinearStruct:
        if not isinstance(module, Adapted):
            return self.of(module, module.bias)
        found = self._beside[module]
        made = self.of(found.base, found.base.bias)
        starts = torch.tensor(found.starts)
        parts = (found.down.contiguous(), found.up.t().contiguous(), starts)
        self._kept += parts
        made.down, made.up, made.starts = map(pointer, parts)
        return made

    def of(
        self, module: AnyLinear | Embedding | QuantizedEmbedding, bias: Tensor | None
    ) -> LinearStruct:
        if isinstance(module, Held):
            form, laid = module.form, pointer(self._tiles[module])
            return LinearStruct(laid, pointer(bias), *module.shape, form.bits, form.minimum)
        return LinearStruct(pointer(module.weight), pointer(bias), *module.weight.shape)


def _beside(model: nn.Module) -> Beside | None:
    """What adapters put beside each map, worked out once; None where it is more than low ranks."""
    found: Beside = {}
    for module in model.modules():
        if isinstance(module, Adapted):
            ranks = module.low_rank()
            if ranks is None:
                return None
            found[module] = ranks
    return found


def _tiles(model: Any) -> dict[nn.Module, Tensor]:
    """The kernel's own copy of weights in few bits, in the order in which it reads them."""
    order = (module for block in model.blocks for module in block.modules())
    held = [module for module in (*order, model.head_map) if isinstance(module, Held)]
    laid = lay([(one.numbers, one.scales, one.minimums) for one in held]) if held else []
    return dict(zip(held, laid, strict=True))


def _layer(block: Any, linear: Callable[[Any], LinearStruct]) -> LayerStruct:
    attn, mlp = block.attn, block.mlp
    return LayerStruct(
        norm_attn=pointer(block.norm_attn.weight),
        norm_mlp=pointer(block.norm_mlp.weight),
        q=linear(attn.q),
        k=linear(attn.k),
        v=linear(attn.v),
        o=linear(attn.o),
        gate=linear(mlp.gate),
        up=linear(mlp.up),
        down=linear(mlp.down),
    )


def _cache(cache: Cache, table: Int[Tensor, "M B"]) -> CacheStruct:
    """With the blocks of each row of a batch."""
    return CacheStruct(
        keys=pointer(cache.keys),
        values=pointer(cache.values),
        blocks=cache.keys.shape[1],
        size=cache.size,
        table=pointer(table),
        most=table.shape[1],
        key_scales=pointer(cache.key_scales),
        value_scales=pointer(cache.value_scales),
    )
