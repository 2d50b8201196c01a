"""Who holds which block of keys and values, and what the blocks hold.

    unused     hold nothing that is known
    held       by one row or more; of several only what all of them have read stands there
    resting    held by nobody, but remembered: a new row that begins with the same tokens takes them

What a block holds is known by the tokens in it and the blocks before it, so equal beginnings are
found block by block, by the tokens themselves and no digest of them. When no block is unused, the
one that rested longest is forgotten. Knows numbers and tokens; the tensors are `nn/cache.py`'s.
Source: Kwon et al. 2023, arXiv:2309.06180, sections 4.3 and 4.4.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

Key = tuple[int, tuple[int, ...]]
"""Name of what stands before (0, or below 0 for an adapter: see `root`), and the block's tokens."""


@dataclass(frozen=True)
class Known:
    """Blocks that hold the beginning of some tokens: `blocks` whole ones, whose last is named
    `name`; `tail` holds the rest but for the last token, where that is known too."""

    blocks: tuple[int, ...]
    name: int
    tail: int | None = None


class Blocks:
    """`count` blocks of `size` tokens."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size
        self._unused = list(range(count))[::-1]
        self._held: Counter[int] = Counter()
        self._resting: OrderedDict[int, None] = OrderedDict()
        self._found: dict[Key, tuple[int, int]] = {}
        self._keys: dict[int, list[Key]] = {}
        self._roots: dict[str | None, int] = {None: 0}
        self._named = 0

    @property
    def free(self) -> int:
        """Blocks that can be taken."""
        return len(self._unused) + len(self._resting)

    @property
    def held(self) -> int:
        """Blocks that rows hold."""
        return len(self._held)

    @property
    def remembered(self) -> int:
        """Blocks that nobody holds and whose tokens are still known."""
        return len(self._resting)

    def resting(self, blocks: Sequence[int]) -> int:
        """How many of these nobody holds."""
        return sum(block in self._resting for block in blocks)

    def root(self, adapter: str | None) -> int:
        """Name of the empty beginning: keys made with one adapter are nothing to another."""
        return self._roots.setdefault(adapter, -len(self._roots))

    def take(self) -> int:
        """A block for one row to write. Raises IndexError where all are held."""
        if not self._unused:
            if not self._resting:
                raise IndexError("all blocks are held")
            oldest, _ = self._resting.popitem(last=False)
            self._forget(oldest)
            self._unused.append(oldest)
        block = self._unused.pop()
        self._held[block] = 1
        return block

    def hold(self, blocks: Sequence[int]) -> None:
        """One row more holds these."""
        for block in blocks:
            self._held[block] += 1
            self._resting.pop(block, None)

    def release(self, blocks: Sequence[int]) -> None:
        """One row less. What is remembered rests, of a row the last block the longest: without
        those before it, it is never found."""
        for block in reversed(blocks):
            self._held[block] -= 1
            if self._held[block]:
                continue
            del self._held[block]
            if block in self._keys:
                self._resting[block] = None
            else:
                self._unused.append(block)

    def remember(self, block: int, before: int, tokens: Sequence[int]) -> int:
        """Say what a held block begins with; gives its name, that of an equal block if there is
        one. Less than a whole block is a tail."""
        key = (before, tuple(tokens))
        if key in self._found:
            return self._found[key][1]
        self._named += 1
        self._found[key] = (block, self._named)
        self._keys.setdefault(block, []).append(key)
        return self._named

    def known(self, root: int, tokens: Sequence[int]) -> Known:
        """What is there of these tokens but the last, which must be read for its scores."""
        blocks: list[int] = []
        name, at, end = root, 0, len(tokens) - 1
        while at + self.size <= end:
            found = self._found.get((name, tuple(tokens[at : at + self.size])))
            if found is None:
                return Known(tuple(blocks), name)
            blocks.append(found[0])
            name, at = found[1], at + self.size
        tail = self._found.get((name, tuple(tokens[at:end]))) if at < end else None
        return Known(tuple(blocks), name, tail[0] if tail else None)

    def _forget(self, block: int) -> None:
        for key in self._keys.pop(block, ()):
            del self._found[key]
