"""Low-rank updates in PEFT's own layout, out of a model and back onto one.

    <module>.lora_A.weight [R, in]       <module>.lora_B.weight [out, R]        linear maps
    <module>.lora_embedding_A [R, V]     <module>.lora_embedding_B [C, R]       tables

`r` and `lora_alpha` hold for all modules but those that `rank_pattern` and `alpha_pattern` name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.checkpoints.checkpoint import Checkpoint
from tutelage.errors import SourceError
from tutelage.models.forward import Model
from tutelage.models.transformer import Transformer
from tutelage.nn.embedding import Embedding
from tutelage.nn.linear import Linear
from tutelage.nn.quantized import AnyLinear, QuantizedLinear
from tutelage.peft._low_rank import LoraEmbedding, LoraLinear, LoraScores
from tutelage.peft._wrapped import Folding, attach_read, frozen
from tutelage.peft.layout import (
    CONFIG,
    WEIGHTS,
    by_module,
    endings,
    module_names,
    other_shape,
    read_tensors,
    tensor_name,
)
from tutelage.peft.lora import SCORES, divisor

A, B = "lora_A.weight", "lora_B.weight"
TABLE_A, TABLE_B = "lora_embedding_A", "lora_embedding_B"
BELOW = "base_layer.weight"
"""PEFT stores what is at either end of a model beside its update too, as it was."""
HONOURED = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}
"""Settings of PEFT's LoRA with the values that are honoured. Other ways of starting (PiSSA, OLoRA,
LoftQ ...) also change the base's weights, which the adapter's file does not hold."""
ANY_VALUE = frozenset({
    "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "lora_dropout",
    "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "velora_config", "qalora_group_size", "ensure_weight_tying",
})  # fmt: skip
"""Settings of LoRA that are read here or matter to training alone."""
Updated = LoraLinear | LoraEmbedding


def updated(model: Model) -> list[tuple[str, Updated]]:
    """Everything with an update beside it, with its path."""
    return [(path, one) for path, one in model.named_modules() if isinstance(one, Updated)]


def tensors_of(model: Model, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """A and B of what is attached, by PEFT's names."""
    names = module_names(checkpoint)
    tensors: dict[str, Tensor] = {}
    for path, one in updated(model):
        linear = isinstance(one, LoraLinear)
        parts = (A, B) if linear else (TABLE_A, TABLE_B)
        for part, value in zip(parts, _pair(one), strict=True):
            tensors[tensor_name(names[path], part)] = value
    return tensors


def _pair(one: Updated) -> tuple[Tensor, Tensor]:
    if isinstance(one, LoraLinear):
        return one.lora_a, one.up()
    return one.lora_embedding_a, one.lora_embedding_b


def ranks_config(
    model: Model, checkpoint: Checkpoint, alpha: float, rank: int, rslora: bool
) -> dict[str, Any]:
    """`r` and `lora_alpha`, and patterns for modules of which several parts are updated: their rank
    is the sum of the parts', their alpha such that the scale stays."""
    names = module_names(checkpoint)
    ranks = {names[path]: len(_pair(one)[0]) for path, one in updated(model)}
    usual = rank if rank in ranks.values() else min(ranks.values())

    def alpha_of(own: int) -> float:
        return alpha * (math.sqrt(own / rank) if rslora else own / rank)

    patterns: dict[str, dict[str, float]] = {"rank_pattern": {}, "alpha_pattern": {}}
    for own in sorted(set(ranks.values()) - {usual}):
        for ending in endings({name for name in ranks if ranks[name] == own}, set(ranks)):
            patterns["rank_pattern"][ending] = own
            patterns["alpha_pattern"][ending] = alpha_of(own)
    return {"r": usual, "lora_alpha": alpha_of(usual), "use_rslora": rslora, **patterns}


def read_onto(
    kind: type[LoraLinear], model: Model, checkpoint: Checkpoint, config: Mapping[str, Any],
    folder: Path,
) -> None:  # fmt: skip
    """Put the updates in `folder` beside the model's modules, frozen, in its own type; those of
    linear maps as this kind. Raises SourceError for what does not fit."""
    tensors = read_tensors(folder)
    stems = {name.rpartition(".")[0] for name in tensors if name.endswith((TABLE_A, TABLE_B))}
    tables = {n: v for n, v in tensors.items() if n.removesuffix(BELOW).rpartition(".")[0] in stems}
    linears = {name: value for name, value in tensors.items() if name not in tables}
    modules = by_module(linears, (A, B), folder, optional=(BELOW,))
    modules |= by_module(tables, (TABLE_A, TABLE_B), folder, optional=(BELOW,))

    def make(stem: str, module: Any, parts: Mapping[str, Tensor]) -> Folding:
        _refuse_another(parts, module, folder, stem)
        if not isinstance(module, Embedding) and A in parts:
            of = LoraScores if module.role == SCORES else kind
            return filled(of, module, parts, config, folder, stem, like)
        if isinstance(module, Embedding) and TABLE_A in parts:
            return _table(module, parts, config, folder, stem, is_tied(model, module))
        got = ", ".join(parts)
        raise other_shape(folder, stem, got, f"what is beside a {type(module).__name__.lower()}")

    like = torch.empty(0, dtype=model.compute, device=model.device)
    attach_read(model, checkpoint, folder, modules, make, (Linear, QuantizedLinear, Embedding))


def filled(
    kind: type[LoraLinear], linear: AnyLinear, parts: Mapping[str, Tensor],
    config: Mapping[str, Any], folder: Path, stem: str, like: Tensor,
) -> Any:  # fmt: skip
    """A wrapper of this kind with A and B as read, frozen, in the type and place of `like`."""
    a, b = parts[A], parts[B]
    rank = _rank(a, b, linear.shape, folder, stem)
    one = kind(linear, rank, scale_in(config, rank, folder, stem))
    one.lora_a, one.lora_b = frozen(a, like), frozen(b, like)
    return one


def _table(
    table: Embedding, parts: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path,
    stem: str, tied: bool,
) -> LoraEmbedding:  # fmt: skip
    a, b = parts[TABLE_A], parts[TABLE_B]
    vocabulary, width = table.weight.shape
    rank = _rank(a, b, (width, vocabulary), folder, stem)
    one = LoraEmbedding(table, rank, scale_in(config, rank, folder, stem), tied)
    one.lora_embedding_a = frozen(a, table.weight)
    one.lora_embedding_b = frozen(b, table.weight)
    return one


def _refuse_another(
    parts: Mapping[str, Tensor], module: Linear | QuantizedLinear | Embedding, folder: Path,
    stem: str,
) -> None:  # fmt: skip
    """Raise SourceError where the file has another matrix below the update than the base."""
    if BELOW not in parts or isinstance(module, QuantizedLinear):
        return
    if not torch.equal(parts[BELOW].to(module.weight.dtype), module.weight.cpu()):
        raise SourceError(
            "the adapter brings a matrix of its own, which the base does not have",
            field=f"{folder / WEIGHTS}: {stem}", got="other values", expected="the base's",
        )  # fmt: skip


def is_tied(model: Model, table: Embedding) -> bool:
    """Whether the scores of tokens are made with the table too."""
    scores = isinstance(model, Transformer) and model.head is not None
    return scores and model.head_weight is table.weight


def _rank(a: Tensor, b: Tensor, shape: tuple[int, int], folder: Path, stem: str) -> int:
    """R of A [R, columns] and B [rows, R]. Raises SourceError for other shapes."""
    rows, columns = shape
    rank = a.shape[0] if a.ndim else 0
    if rank < 1 or a.shape != (rank, columns) or b.shape != (rows, rank):
        got = f"A {list(a.shape)}, B {list(b.shape)}"
        raise other_shape(folder, stem, got, f"A [R, {columns}], B [{rows}, R]")
    return rank


def scale_in(config: Mapping[str, Any], rank: int, folder: Path, stem: str) -> float:
    """s of a module's update of this rank. Raises SourceError for a scale that is no number, for a
    rank other than the configuration's, and for patterns that are no plain names."""
    alpha = _by_pattern(config, "alpha_pattern", stem, folder, config.get("lora_alpha", 8))
    said = _by_pattern(config, "rank_pattern", stem, folder, config.get("r", 8))
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise SourceError(
            "the adapter's scale is no number", field=f"{folder / CONFIG}: lora_alpha", got=alpha,
            expected="a number",
        )  # fmt: skip
    if said != rank:
        raise SourceError(
            "the adapter's rank is another than its weights have",
            field=f"{folder / CONFIG}: r",
            got=said,
            expected=rank,
        )
    return float(alpha) / divisor(rank, bool(config.get("use_rslora")))


def _by_pattern(
    config: Mapping[str, Any], key: str, stem: str, folder: Path, usual: object
) -> object:
    """What a pattern says of a module, else the usual. PEFT's patterns are regular expressions;
    only plain endings of names are honoured, as a file must not make us search for ever."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict) or not all(re.fullmatch(r"[\w.]+", p) for p in patterns):
        raise SourceError(
            "the adapter's pattern is no plain name", field=f"{folder / CONFIG}: {key}",
            got=patterns, expected="endings of module names",
        )  # fmt: skip
    found = (value for name, value in patterns.items() if f".{stem}".endswith(f".{name}"))
    return next(found, usual)
