"""How a model is asked follows from its configuration."""

from __future__ import annotations

from dataclasses import replace

from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.reading import Reading, Virtual
from tutelage.data.pack import Example
from tutelage.text.pairs import PairRenderer
from tutelage.text.render import Renderer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer


def test_a_decoder_reads_prompt_and_answer_on_one_axis() -> None:
    reading = Reading.of(open_checkpoint("preset:gpt2-tiny"))
    assert type(reading.renderer) is Renderer and not reading.both
    assert reading.example([7, 8], [9], 2.0, "r") == Example((7, 8), (1,), (9,), 2.0, "r")
    assert reading.scored([7, 8], [9]) == Example((7, 8), (1,), (9,))
    assert (reading.context, reading.longest_prompt) == (512, 511)
    assert reading.over(500, 12) is None and reading.over(500, 13) == (513, 512)
    assert reading.room(500) == 12


def test_a_prefix_decoder_says_it_in_its_configuration() -> None:
    checkpoint = open_checkpoint("preset:gpt2-tiny")
    checkpoint = replace(checkpoint, config={**checkpoint.config, "prefix_lm": True})
    reading = Reading.of(checkpoint)
    assert reading.both
    assert reading.example([7, 8], [9, 1]) == Example((7, 8, 9), (1, 2), (9, 1), lead=2)
    assert reading.scored([7, 8], [9]).lead == 2


def test_an_encoder_decoder_has_two_axes() -> None:
    reading = Reading.of(open_checkpoint("preset:bart-tiny"))
    assert isinstance(reading.renderer, PairRenderer)
    found = reading.example([7, 8], [9, 1], 2.0, "r")
    assert found == Example((0, 9), (0, 1), (9, 1), 2.0, "r", (7, 8))
    assert (reading.context, reading.longest_prompt) == (512, 512)
    assert reading.over(512, 512) is None and reading.over(513, 1) == (513, 512)
    assert reading.over(1, 513) == (513, 512) and reading.room(512) == 512


def test_virtual_tokens_take_room_on_the_axis_they_stand_on() -> None:
    """Vectors before a prompt, keys and values before what a decoder says."""
    vectors, deep = Virtual((300, 301)), Virtual((300, 301), deep=True)
    decoder = Reading.of(open_checkpoint("preset:gpt2-tiny"))
    for one in (vectors, deep):
        found = decoder.behind(one)
        assert (found.context, found.longest_prompt, found.room(500)) == (510, 509, 10)
        assert found.example([7], [8, 9]) == Example((300, 301, 7, 8), (2, 3), (8, 9))
    pair = Reading.of(open_checkpoint("preset:bart-tiny"))
    found = pair.behind(vectors)
    assert (found.context, found.longest_prompt, found.room(1)) == (510, 510, 512)
    assert found.over(511, 1) == (511, 510) and found.over(510, 512) is None
    row = Example((0, 9), (0, 1), (9, 1), memory=(300, 301, 7, 8))
    assert found.example([7, 8], [9, 1]) == row == found.scored([7, 8], [9, 1])
    found = pair.behind(deep)
    assert (found.context, found.longest_prompt, found.room(1)) == (512, 512, 510)
    assert found.over(512, 511) == (511, 510) and found.over(512, 510) is None
    row = Example((300, 301, 0, 9), (2, 3), (9, 1), memory=(7, 8))
    assert found.example([7, 8], [9, 1]) == row == found.scored([7, 8], [9, 1])


def test_what_a_tokenizer_puts_before_a_row_is_given_where_text_is_scored() -> None:
    reading = Reading.of(open_checkpoint("preset:bart-tiny"))
    made = reading.renderer.tokenizer
    document = made.json.replace(
        '"single": [{"Sequence"',
        '"single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence"',
    )
    around = Tokenizer(document, SpecialTokens(eos="</s>"))
    assert around.prefix == (1,)
    found = replace(reading, renderer=PairRenderer(around)).scored([7], [9, 8])
    assert found == Example((0, 1, 9), (1, 2), (9, 8), memory=(7,))


def test_relative_positions_have_no_limit() -> None:
    reading = Reading.of(open_checkpoint("preset:t5-tiny"))
    assert reading.context is reading.longest_prompt is reading.room(9999) is None
