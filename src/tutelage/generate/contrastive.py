"""Contrastive search: the likeliest token that is not too like what stands there already.

    v = argmax over the top k of  (1 - alpha) p(v | y) - alpha max_j cos(h_v, h_j)

h are the decoder's vectors after the final norm, of the prompt's tokens and the answer's. The k
candidates are read in one step, and the rows of those not chosen are dropped. Source: Su et al.
2022, arXiv:2202.06417, equation 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tutelage.decoding import Contrastive
from tutelage.generate.job import Job, Token
from tutelage.generate.rows import Rows
from tutelage.generate.sample import numbers
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import Model


@torch.inference_mode()
def contrastive_search(
    model: Model, job: Job, search: Contrastive, stopped: Callable[[], bool]
) -> Iterator[Token]:
    """The tokens of job 0 as they are chosen, the last with its `finish`."""
    read = job.read(model)
    whole = replace(read, at=tuple(range(len(read.ids))), labels=read.ids)
    rows = Rows.of(model, 1, len(read.ids) + job.max_new_tokens)
    hidden = rows.read([0], [whole])
    logits, before = model.logits(hidden[-1:])[0], _vectors(model, hidden)
    for made in range(1, job.max_new_tokens + 1):
        if stopped():
            yield Token(0, None, "cancelled")
            return
        if made <= job.min_new_tokens:
            logits[sorted(job.ends)] = -torch.inf
        numbers(logits, made)
        probabilities, ids = torch.softmax(logits, -1).topk(min(search.top_k, len(logits)))
        rows.cache.keep(rows.tensor([0] * len(ids)))
        hidden = rows.step_hidden(range(len(ids)), ids.tolist())
        likeness = _vectors(model, hidden) @ before.T
        worth = (1 - search.alpha) * probabilities - search.alpha * likeness.amax(1)
        best = int(worth.argmax())
        token = int(ids[best])
        if token in job.ends:
            yield Token(0, None, "stop")
            return
        yield Token(0, token, "length" if made == job.max_new_tokens else None)
        rows.cache.keep(rows.tensor([best]))
        logits = model.logits(hidden[best : best + 1])[0]
        before = torch.cat([before, _vectors(model, hidden[best : best + 1])])


def _vectors(model: Model, hidden: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """Of length one, after the final norm."""
    decoder = model.decoder if isinstance(model, EncoderDecoder) else model
    return torch.nn.functional.normalize(decoder.vectors(hidden).float(), dim=-1)
