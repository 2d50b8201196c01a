"""Who holds which block: none leaks, none is taken from a holder, equal beginnings are found."""

from __future__ import annotations

import random

import pytest

from tutelage.generate.blocks import Blocks

SIZE = 4


def written(blocks: Blocks, tokens: list[int], root: int = 0) -> list[int]:
    """Blocks held and remembered as a row that reads all these tokens would."""
    held, name = [blocks.take() for _ in range(-(-len(tokens) // SIZE))], root
    for place in range(len(tokens) // SIZE):
        part = tokens[place * SIZE : (place + 1) * SIZE]
        name = blocks.remember(held[place], name, part)
    return held


def test_equal_beginnings_are_found_block_by_block() -> None:
    blocks = Blocks(10, SIZE)
    held = written(blocks, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    known = blocks.known(0, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0])
    assert known.blocks == tuple(held[:2]) and known.tail is None
    assert blocks.known(0, [1, 2, 3, 4, 5, 6, 7, 0, 0]).blocks == (held[0],)
    assert blocks.known(0, [0, 2, 3, 4, 5, 6, 7, 8, 0]).blocks == ()
    # The same tokens behind others are another block.
    assert blocks.known(0, [5, 6, 7, 8, 1]).blocks == ()


def test_the_last_token_is_left_to_read() -> None:
    blocks = Blocks(4, SIZE)
    held = written(blocks, [1, 2, 3, 4])
    assert blocks.known(0, [1, 2, 3, 4]).blocks == ()
    assert blocks.known(0, [1, 2, 3, 4, 9]).blocks == (held[0],)


def test_a_tail_is_found_where_all_but_the_last_token_is_equal() -> None:
    blocks = Blocks(4, SIZE)
    held = written(blocks, [1, 2, 3, 4, 5, 6])
    name = blocks.known(0, [1, 2, 3, 4, 9]).name
    blocks.remember(held[1], name, [5, 6])
    assert blocks.known(0, [1, 2, 3, 4, 5, 6, 7]).tail == held[1]
    assert blocks.known(0, [1, 2, 3, 4, 5, 7]).tail is None
    assert blocks.known(0, [1, 2, 3, 4, 5, 6, 7, 8]).tail is None


def test_what_one_adapter_made_is_nothing_to_another() -> None:
    blocks = Blocks(6, SIZE)
    root = blocks.root("terse")
    assert len({root, blocks.root(None), blocks.root("formal")}) == 3
    assert blocks.root("terse") == root
    held = written(blocks, [1, 2, 3, 4, 5], root)
    assert blocks.known(root, [1, 2, 3, 4, 5]).blocks == (held[0],)
    assert blocks.known(0, [1, 2, 3, 4, 5]).blocks == ()


def test_what_rested_longest_is_forgotten_first_and_ends_before_beginnings() -> None:
    blocks = Blocks(4, SIZE)
    old = written(blocks, [1] * 8)
    new = written(blocks, [2] * 8)
    blocks.release(old)
    blocks.release(new)
    assert blocks.free == 4 and blocks.held == 0
    assert blocks.take() == old[1]
    assert blocks.known(0, [1] * 9).blocks == (old[0],)
    assert blocks.take() == old[0]
    assert blocks.known(0, [2] * 9).blocks == tuple(new)
    # Taken over again, they rest no longer and cannot be taken away.
    blocks.hold(new)
    with pytest.raises(IndexError):
        blocks.take()


def test_a_shared_block_is_held_until_the_last_row_leaves() -> None:
    blocks = Blocks(2, SIZE)
    held = written(blocks, [1] * 8)
    blocks.hold(held)
    blocks.release(held)
    assert blocks.free == 0
    blocks.release(held)
    assert blocks.free == 2


def test_no_block_leaks_and_none_is_held_twice_by_chance() -> None:
    """Rows that come, take over, grow and leave in random order."""
    drawn = random.Random(1)
    blocks, rows = Blocks(12, SIZE), list[tuple[list[int], list[int]]]()
    for _ in range(3000):
        tokens = [drawn.randrange(2) for _ in range(drawn.randrange(1, 14))]
        known = blocks.known(0, tokens)
        need = -(-len(tokens) // SIZE) - len(known.blocks)
        if drawn.random() < 0.6 and need <= blocks.free - blocks.resting(known.blocks):
            blocks.hold(known.blocks)
            own = [blocks.take() for _ in range(need)]
            name, row = known.name, [*known.blocks, *own]
            for place in range(len(known.blocks), len(tokens) // SIZE):
                part = tokens[place * SIZE : (place + 1) * SIZE]
                name = blocks.remember(row[place], name, part)
            rows.append((row, own))
        elif rows:
            blocks.release(rows.pop(drawn.randrange(len(rows)))[0])
        held = {block for row, _ in rows for block in row}
        assert blocks.held == len(held) and blocks.free == blocks.count - len(held)
    for row, _ in rows:
        blocks.release(row)
    assert blocks.free == blocks.count and blocks.held == 0
