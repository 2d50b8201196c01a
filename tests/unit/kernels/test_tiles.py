"""Tiles: every code, scale and minimum is where the C++ products look for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tutelage.kernels.tiles import LARGE, lay, tiles
from tutelage.nn.form import Form
from tutelage.nn.quantized import quantize

FORMS = {"8": Form(8), "4": Form(4), "minimums": Form(4, minimum=True)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "columns"), [(16, 32), (48, 96), (21, 70)])
def test_each_number_is_in_its_place(rows: int, columns: int, form: str) -> None:
    codes = quantize(torch.randn(rows, columns), FORMS[form])
    laid = tiles(codes.numbers, codes.scales, codes.minimums)
    expected = codes.weight(torch.float32)
    wide = FORMS[form].bits == 8
    for row in range(rows):
        for column in range(columns):
            r, place = row % 16, column % 32
            numbers = laid[row // 16, column // 32]
            after = 512 if wide else 256
            if wide:
                number = int(numbers[place // 4 * 64 + r * 4 + place % 4]) - 128
            else:
                byte = int(numbers[place % 16 // 4 * 64 + r * 4 + place % 4])
                number = byte >> 4 if place >= 16 else byte & 15
            beside = numbers[after:].view(torch.float16).float()
            least = beside[16 + r] if form == "minimums" else -8 * beside[r] * (not wide)
            assert number * beside[r] + least == pytest.approx(
                float(expected[row, column]), abs=1e-6
            )


def test_rows_that_fill_the_last_tile_are_zeros() -> None:
    codes = quantize(torch.randn(21, 32), Form(4, minimum=True))
    filled = tiles(codes.numbers, codes.scales, codes.minimums)[1, 0, 256:].view(torch.float16)
    assert not filled[5:16].any() and not filled[21:].any()


def test_matrices_stand_one_after_the_other_from_the_beginning_of_a_page() -> None:
    made = [
        quantize(torch.randn(rows, 64), form)
        for rows, form in ((16, Form(8)), (40, Form(4)), (7, Form(8)))
    ]
    matrices = [(codes.numbers, codes.scales, codes.minimums) for codes in made]
    laid = lay(matrices)
    assert laid[0].data_ptr() % LARGE == 0
    for before, after in pairwise(laid):
        assert before.data_ptr() + before.numel() == after.data_ptr()
    for one, matrix in zip(laid, matrices, strict=True):
        assert torch.equal(one, tiles(*matrix))
