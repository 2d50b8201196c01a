"""What a training step keeps between the forward and the backward pass, tensor by tensor.

Every tensor autograd saves in one layer of a plain pre-norm decoder (`models.spec.Shape.plain`) is
a line here: its numbers per token, its bytes per number, and which trained weights make it
necessary. The list is checked against what autograd really saves by a test; see `memory.py` for
everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tutelage.plan.parameters import Dimensions

PROJECTIONS = frozenset({"attn.q", "attn.k", "attn.v", "attn.qkv"})
FEED_FORWARD_IN = frozenset({"mlp.gate", "mlp.up"})


@dataclass(frozen=True)
class Batch:
    """One packed batch: `tokens` in it, `labels` of them trained, no row longer than `row_tokens`.

    `compute_bytes` is the size of an activation's number (2 in bfloat16, 4 in float32), `chunk` and
    `frozen_chunk` how many labels' logits exist at a time, where their head is trained and where it
    is not, `batches` how many such batches one update sums up, `threads` how many processor cores
    compute attention, each in room of its own. `again`: batches came before this one, and what they
    freed is still held, as the C library does.
    """

    tokens: int
    labels: int
    row_tokens: int
    heads: int
    compute_bytes: int = 2
    chunk: int = 256
    frozen_chunk: int = 64
    checkpointing: bool = False
    batches: int = 1
    threads: int = 2
    again: bool = False


@dataclass(frozen=True)
class Saved:
    """A saved tensor: `numbers` per token, `bytes` each; `after` attention or before it."""

    name: str
    numbers: int
    bytes: int
    after: bool = False


def saved_tensors(
    sizes: Dimensions,
    batch: Batch,
    trained: Collection[str],
    beside: Iterable[tuple[str, int]] = (),
) -> list[Saved]:
    """What autograd keeps of one layer.

    `trained` are the roles whose weights, or what stands beside them, get gradients: all with full
    tuning, the targets with LoRA. A frozen weight's input need not be kept. `beside` are further
    numbers a token at the linear of a role, as LoRA's A x. The C++ kernels compute cheap things
    again: the norm in float32, silu.
    """
    low = batch.compute_bytes
    scale = ("mean and deviation", 2, low) if sizes.centred else ("root mean square", 1, 4)
    width, hidden = sizes.width, sizes.hidden
    kept = [
        Saved("block input", width, low),
        Saved(*scale),
        Saved("q", sizes.query, low),
        Saved("k", sizes.key, low),
        Saved("v", sizes.value, low),
        Saved("attention output", sizes.query, low),
        Saved("log-sum-exp", batch.heads, 4),
        Saved("feed-forward input", width, low, after=True),
        Saved(*scale, after=True),
        Saved("up", hidden, low, after=True),
    ]
    if sizes.gated:
        kept.append(Saved("gate", hidden, low, after=True))
    if not PROJECTIONS.isdisjoint(trained):
        kept.append(Saved("normed block input", width, low))
    if not FEED_FORWARD_IN.isdisjoint(trained):
        kept.append(Saved("normed feed-forward input", width, low, after=True))
    if "mlp.down" in trained:
        name = "silu(gate) * up" if sizes.gated else "activation"
        kept.append(Saved(name, hidden, low, after=True))
    for role, numbers in beside:
        kept.append(Saved(f"beside {role}", numbers, low, role not in PROJECTIONS))
    return kept


def saved_bytes(
    sizes: Dimensions,
    batch: Batch,
    trained: Collection[str],
    beside: Iterable[tuple[str, int]] = (),
    layers: int | None = None,
    adapted: int | None = None,
) -> int:
    """Bytes autograd keeps of all layers, and the cosines and sines of the rotation, kept once.

    Gradients pass the last `layers`, None being all, and weights are trained in `adapted` of these.
    The last layer's half after attention runs on labelled tokens only. With checkpointing only each
    block's input is kept, and one layer's tensors while that layer is computed again.
    """
    layers = sizes.layers if layers is None else layers
    if not layers:
        return 0
    more = layers if adapted is None else adapted
    plain = _halves(saved_tensors(sizes, batch, ()))
    tuned = _halves(saved_tensors(sizes, batch, trained, beside))
    angles = batch.tokens * 2 * (sizes.query // batch.heads) * 4 if sizes.rotated else 0
    if batch.checkpointing:
        inputs = layers * batch.tokens * sizes.width * batch.compute_bytes
        return angles + inputs + batch.tokens * sum(tuned)
    last = tuned[1]
    if "attn.o" in trained:
        last += sizes.query * batch.compute_bytes  # the labelled rows of the attention output
    every = more * tuned[0] + (more - 1) * tuned[1] + (layers - more) * sum(plain)
    return angles + batch.tokens * every + min(batch.labels, batch.tokens) * last


def _halves(tensors: Iterable[Saved]) -> tuple[int, int]:
    """Bytes a token before and after attention."""
    found = [0, 0]
    for tensor in tensors:
        found[tensor.after] += tensor.numbers * tensor.bytes
    return found[0], found[1]


def attention_workspace(sizes: Dimensions, batch: Batch) -> int:
    """Bytes of one layer's attention while its gradient is computed, freed layer by layer.

    The gradients of queries, keys and values; and each thread's float32 copies of one row and key
    head: keys and values, turned and straight, their gradients: six [T, D], and 48 queries' scores
    and score gradients. Scores of a whole row never exist (kernels/packed.cpp); where the library
    was not built PyTorch's attention takes a similar amount.
    """
    row = min(batch.row_tokens, batch.tokens)
    gradients = batch.tokens * (sizes.query + 2 * sizes.key) * batch.compute_bytes
    return gradients + batch.threads * row * 4 * (6 * sizes.query // batch.heads + 2 * 48)
