"""One vector of each text: the vectors of its tokens, joined. Texts are read in packs.

    mean                  sum_i x_i / n             cls        x_1
    mean_sqrt_len_tokens  sum_i x_i / sqrt(n)       lasttoken  x_n
    weightedmean          sum_i i x_i / sum_i i     max        the greatest of each coordinate

Source of the mean: Reimers and Gurevych 2019, arXiv:1908.10084, section 3; names as in their code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.checkpoints.sentence import Pooling
from tutelage.data.pack import Example, batch, pack
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer

PACK_TOKENS = 2048

Row = Float[Tensor, "T C"]
MODES: Mapping[str, Callable[[Row], Float[Tensor, "C"]]] = {
    "cls": lambda x: x[0],
    "lasttoken": lambda x: x[-1],
    "max": lambda x: x.amax(0),
    "mean": lambda x: x.mean(0),
    "mean_sqrt_len_tokens": lambda x: x.sum(0) / len(x) ** 0.5,
    "weightedmean": lambda x: (_places(x) * x).sum(0) / _places(x).sum(),
}


def embed(
    model: Transformer, rows: Sequence[Sequence[int]], pooling: Pooling, exact: bool = False
) -> list[list[float]]:
    """The vectors of rows of tokens, none of them empty, in float32.

    `exact` reads each row alone, so that nothing depends on what shares the pack.
    """
    examples = [_whole(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: examples[i].inputs)
    steps = [[i] for i in order] if exact else batch(examples, order, PACK_TOKENS)
    results: dict[int, list[float]] = {}
    with torch.inference_mode():
        for step in steps:
            found = _pooled(model, [examples[i] for i in step], pooling)
            results.update(zip(step, found.tolist(), strict=True))
    return [results[i] for i in range(len(rows))]


def _whole(row: Sequence[int]) -> Example:
    """A row all of whose vectors are wanted, and whose tokens all see each other."""
    ids = tuple(row)
    return Example(ids, tuple(range(len(ids))), ids, lead=len(ids))


def _pooled(
    model: Transformer, examples: Sequence[Example], pooling: Pooling
) -> Float[Tensor, "R C"]:
    vectors = model.vectors(forward(model, pack(examples))).float()
    rows = vectors.split([example.inputs for example in examples])
    joined = torch.stack([torch.cat([MODES[m](row) for m in pooling.modes]) for row in rows])
    return torch.nn.functional.normalize(joined, dim=-1) if pooling.normalize else joined


def _places(x: Row) -> Float[Tensor, "T 1"]:
    """1, 2, 3 ..., a row each."""
    return torch.arange(1, len(x) + 1, device=x.device, dtype=x.dtype)[:, None]
