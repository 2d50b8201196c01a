"""Attention inside clusters of like vectors, found by locality-sensitive hashing.

    bucket(x) = argmax [x R ; -x R],   R random and fixed;   keys are queries of length 1

In each of several rounds, with rotations of its own, a token sees the last `most` tokens of its
bucket; itself only where there is no other. Rounds are joined by their log-sum-exp. Rows are sorted
by bucket and computed in chunks of `most`, so time and memory grow with the length times `most`.
Source: Kitaev et al. 2020, arXiv:2001.04451, section 2. Differs: a token's keys are counted back
from it inside its bucket, where theirs fill fixed chunks of the sorted row; so nothing depends on
later tokens, and decoding with what was kept equals reading the whole row.
"""

from __future__ import annotations

import functools
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutelage.nn.attend import State
from tutelage.nn.attention import Attention, Heads, Pass
from tutelage.nn.linear import Linear

ITSELF = -1e5
"""Added to a token's score with itself."""


class ClusterAttention(Attention):
    """Self-attention whose queries are its keys, H = K. Remembers, of each bucket, the last `most`
    keys and values, and how many there were."""

    scans = True

    def __init__(
        self, width: int, heads: Heads, *, buckets: int, most: int, rounds: int, seed: int
    ) -> None:
        super().__init__(width, heads)
        self.buckets, self.most, self.rounds, self.seed = buckets, most, rounds, seed

    def _project(self, width: int, bias: bool) -> None:
        self.q = Linear(width, self.heads.query * self.heads.width, "attn.q", bias)
        self.v = Linear(width, self.heads.query * self.heads.width, "attn.v", bias)

    def mix(self, x: Float[Tensor, "N C"], at: Pass) -> Float[Tensor, "N HD"]:
        return at.attend.scan(at.layer, self.step, x)

    def step(
        self, x: Float[Tensor, "B T C"], lengths: Int[Tensor, "B"], state: State | None
    ) -> tuple[Float[Tensor, "B T O"], State]:
        """A `Scan` of `nn/attend.py`."""
        q, v = (
            part(x).unflatten(-1, (self.heads.query, self.heads.width)).transpose(1, 2)
            for part in (self.q, self.v)
        )
        bucket = self.hashed(q)
        if state is None:
            beyond = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
            bucket = bucket.masked_fill(beyond[:, None, None], self.buckets)
            return self._whole(q, v, bucket).transpose(1, 2).flatten(2), self._kept(q, v, bucket)
        parts = []
        for place in range(x.shape[1]):
            y, after = self._next(q[:, :, place], v[:, :, place], bucket[..., place], state)
            parts.append(y)
            real = place < lengths  # padding is not remembered
            state = tuple(
                torch.where(real.view(-1, *[1] * (new.ndim - 1)), new, old)
                for new, old in zip(after, state, strict=True)
            )
        return torch.stack(parts, dim=1).flatten(2), state

    def hashed(self, q: Float[Tensor, "B H T D"]) -> Int[Tensor, "B H R T"]:
        """The bucket of each token in each round."""
        shape = (self.heads.query, self.rounds, self.heads.width, self.buckets // 2)
        turned = torch.einsum(
            "bhtd,hrdn->bhrtn", q.float(), _rotations(shape, self.seed).to(q.device)
        )
        return torch.cat([turned, -turned], dim=-1).argmax(-1)

    def _whole(
        self,
        q: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
        bucket: Int[Tensor, "B H R T"],
    ) -> Float[Tensor, "B H T D"]:
        length, most = q.shape[2], self.most
        chunks = -(-length // most)
        order = (bucket * length + torch.arange(length, device=q.device)).argsort(-1)
        back = order.argsort(-1)
        pad = (0, chunks * most - length)
        sorted_bucket = nn.functional.pad(bucket.gather(-1, order), pad, value=self.buckets + 1)
        queries = self._sorted(q, order, pad)
        values = self._sorted(v, order, pad)
        keys = nn.functional.normalize(queries.float(), dim=-1).to(queries.dtype)
        pairs = [_with_last(part) for part in (keys, values)]
        ids = sorted_bucket.unflatten(-1, (chunks, most))
        seen = _with_last(ids[..., None])[..., 0]
        scores = torch.einsum("bhrctd,bhrcsd->bhrcts", queries, pairs[0]).float()
        scores = scores / math.sqrt(q.shape[-1])
        place = torch.arange(most, device=q.device)
        gap = place[:, None] + most - torch.arange(2 * most, device=q.device)
        hidden = (gap < 0) | (gap >= most) | (ids[..., None] != seen[..., None, :])
        hidden[..., 0, :, :most] = True  # before the first chunk there is none
        scores = scores.masked_fill(hidden, -math.inf) + ITSELF * (gap == 0)
        lse = torch.logsumexp(scores, dim=-1)
        shares = torch.exp(scores - lse[..., None]).to(v.dtype)
        mixed = torch.einsum("bhrcts,bhrcsd->bhrctd", shares, pairs[1]).flatten(3, 4)
        mixed = mixed.gather(3, back[..., None].expand(*back.shape, q.shape[-1]))
        return _joined(mixed, lse.flatten(3).gather(3, back))

    def _sorted(self, x: Float[Tensor, "B H T D"], order: Tensor, pad: tuple[int, int]) -> Tensor:
        """[B H R chunks most D], each round in its order."""
        index = order[..., None].expand(*order.shape, x.shape[-1])
        spread = x[:, :, None].expand(-1, -1, self.rounds, -1, -1).gather(3, index)
        return nn.functional.pad(spread, (0, 0, *pad)).unflatten(3, (-1, self.most))

    def _kept(
        self,
        q: Float[Tensor, "B H T D"],
        v: Float[Tensor, "B H T D"],
        bucket: Int[Tensor, "B H R T"],
    ) -> State:
        one = nn.functional.one_hot(bucket, self.buckets + 1)[..., : self.buckets]
        count = one.sum(3)
        rank = ((one.cumsum(3) - 1) * one).sum(-1)
        real = bucket < self.buckets
        whose = bucket.clamp(max=self.buckets - 1)
        last = real & (rank >= count.gather(-1, whose) - self.most)
        shape = (*count.shape, self.most, q.shape[-1])
        keys, values = q.new_zeros(shape), v.new_zeros(shape)
        b, h, r, t = torch.where(last)
        at = (b, h, r, whose[b, h, r, t], rank[b, h, r, t] % self.most)
        keys[at], values[at] = q[b, h, t].detach(), v[b, h, t].detach()
        return keys, values, count

    def _next(
        self, q: Float[Tensor, "B H D"], v: Float[Tensor, "B H D"], bucket: Int[Tensor, "B H R"],
        state: State,
    ) -> tuple[Float[Tensor, "B H D"], State]:  # fmt: skip
        """One token more in every row."""
        keys, values, count = (part.clone() for part in state)
        b, h, r = torch.meshgrid(
            *(torch.arange(n, device=q.device) for n in bucket.shape), indexing="ij"
        )
        rank = count[b, h, r, bucket]
        slot = rank % self.most
        keys[b, h, r, bucket, slot] = q[:, :, None].expand(-1, -1, self.rounds, -1)
        values[b, h, r, bucket, slot] = v[:, :, None].expand(-1, -1, self.rounds, -1)
        count[b, h, r, bucket] = rank + 1
        mine, brought = keys[b, h, r, bucket], values[b, h, r, bucket]
        unit = nn.functional.normalize(mine.float(), dim=-1).to(q.dtype)
        scores = torch.einsum("bhd,bhrsd->bhrs", q, unit).float() / math.sqrt(q.shape[-1])
        place = torch.arange(self.most, device=q.device)
        scores = scores.masked_fill(place > rank[..., None], -math.inf)
        scores = scores + ITSELF * (place == slot[..., None])
        lse = torch.logsumexp(scores, dim=-1)
        shares = torch.exp(scores - lse[..., None]).to(v.dtype)
        mixed = torch.einsum("bhrs,bhrsd->bhrd", shares, brought)
        return _joined(mixed[:, :, :, None], lse[..., None])[:, :, 0], (keys, values, count)


def _joined(
    mixed: Float[Tensor, "B H R T D"], lse: Float[Tensor, "B H R T"]
) -> Float[Tensor, "B H T D"]:
    """Attention over the keys of all rounds, from that of each."""
    shares = torch.softmax(lse, dim=2)[..., None]
    return (mixed.float() * shares).sum(2).to(mixed.dtype)


def _with_last(x: Float[Tensor, "B H R chunks most D"]) -> Tensor:
    """Each chunk behind the one before it; behind the first stands the last, to be hidden."""
    return torch.cat([x.roll(1, dims=3), x], dim=4)


@functools.lru_cache(maxsize=256)
def _rotations(shape: tuple[int, ...], seed: int) -> Float[Tensor, "H R D n"]:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
