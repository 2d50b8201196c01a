"""What an architecture file must say of itself; `catalogue.py` finds it by a configuration.

Knows no tensors: counting and planning work from a SPEC without importing torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tutelage.nn.pairs import Pairs

Family = Literal["encoder", "decoder", "encoder-decoder"]
Start = float | Literal["zeros", "ones"]

CONSTANT = "constant"
"""The role of numbers that are stored and never trained."""


@dataclass(frozen=True)
class Weight:
    """One weight: our module path, Hugging Face's name, shape, role, and layer if it has one.

    `shape` is ours, [out, in] for linear maps; `transposed` where files hold [in, out]. `others`
    are names it also goes by. `start` is how it begins before pretraining: a normal distribution's
    deviation, or a constant; None leaves it to the preset (norms 1, biases 0, matrices its own).
    `stored` is the shape files have, where it is another of as many numbers. The role "constant"
    is for numbers that are stored and never trained, which do not count as parameters. Of a layer's
    experts as many are not `idle` as a token meets: which they are is the token's own.
    """

    path: str
    hf_name: str
    shape: tuple[int, ...]
    role: str
    layer: int | None = None
    transposed: bool = False
    others: tuple[str, ...] = ()
    start: Start | None = None
    stored: tuple[int, ...] | None = None
    idle: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """As files have it."""
        if self.stored is not None:
            return self.stored
        return self.shape[::-1] if self.transposed else self.shape

    @property
    def trained(self) -> bool:
        """Whether training can change it."""
        return self.role != CONSTANT


@dataclass(frozen=True)
class Shape:
    """The sizes other parts of the package ask a model for. `context` None has no limit of its own;
    `encoder_layers` are those of an encoder beside `layers` of a decoder, whose rows begin with the
    token `start`; None where there is no encoder. `plain` blocks are causal attention and a
    feed-forward network, each behind one norm and with nothing more: what `plan/activations.py`
    counts to the byte. `sees` is how much each layer of the decoder sees, None being all; empty
    where all layers see all."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    context: int | None
    encoder_layers: int = 0
    start: int | None = None
    plain: bool = False
    sees: tuple[Pairs | None, ...] = ()

    @property
    def queries(self) -> int:
        """Width of all heads together, which need not be that of the model."""
        return self.heads * self.head_width

    def pairs(self, tokens: int) -> int:
        """Of a token and a key that it sees, in all layers, of one causal row."""
        whole = tokens * (tokens + 1) // 2
        each = self.sees or (None,) * self.layers
        return sum(whole if one is None else one.pairs(tokens) for one in each)

    def square(self, tokens: int) -> float:
        """L T^2 times the share of all pairs that are seen."""
        return 2 * tokens * self.pairs(tokens) / (tokens + 1)

    def state(self, low: int) -> int:
        """Bytes that are remembered of a row in place of keys and values, 0 where those are."""
        return sum(one.state(low) for one in self.sees if one is not None)


@dataclass(frozen=True)
class HeadForm:
    """Where a class of Hugging Face's keeps the model, and what it computes from its vectors.

    `trunk` is the name it keeps the model under; `out` its last linear map, `dense` a layer with
    tanh before it; `pooled` reads the model's own pooler instead. `suffix` is another class's where
    there is none for this head; `encoder` leaves the decoder out.
    """

    trunk: str
    out: str = "classifier"
    bias: bool = True
    dense: str | None = None
    pooled: bool = False
    encoder: bool = False
    suffix: str | None = None


@dataclass(frozen=True)
class Spec:
    """An architecture: how its configuration is read, which weights it has, how it is built.

    `read` turns Hugging Face's config.json into the architecture's own frozen configuration and
    raises ConfigError for what it cannot honour; `layout` lists every stored weight once (a tied
    head is not listed); `build` makes the module, uninitialized, importing torch only then.
    `prefix` is the name under which Hugging Face's models with a head keep the model itself, which
    files may leave out or add; names that match `ignored` hold nothing that the class named in the
    configuration computes with: buffers, tied copies, the heads of another class.
    """

    name: str
    family: Family
    hf_architectures: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    shape: Callable[[Any], Shape]
    layout: Callable[[Any], Iterator[Weight]]
    build: Callable[[Any], Any]
    presets: Mapping[str, Mapping[str, Any]]
    prefix: str = ""
    ignored: tuple[str, ...] = ()
    heads: Mapping[str, HeadForm] = field(default_factory=dict)
    """How Hugging Face's classes with a task's head keep it, where not as usual (`headed.py`)."""

    def names(self, weight: Weight) -> Iterator[str]:
        """Every name a file may keep the weight under, the usual one first."""
        for name in (weight.hf_name, *weight.others):
            yield name
            if self.prefix and name.startswith(f"{self.prefix}."):
                yield name.removeprefix(f"{self.prefix}.")
            elif self.prefix:
                yield f"{self.prefix}.{name}"

    def ignores(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.ignored)


class Sized(Protocol):
    """What of a weight tells that it is a matrix, and which."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def role(self) -> str: ...


def is_linear(weight: Sized) -> bool:
    """Whether it is the matrix of a linear map inside the blocks, beside which adapters can be."""
    return len(weight.shape) == 2 and weight.role.startswith(("attn.", "cross.", "mlp."))
