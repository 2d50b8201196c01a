"""What an encoder reads and a decoder is to say, for tokenizers that write rows differently."""

from __future__ import annotations

import json

import pytest

from tutelage.errors import GuardError
from tutelage.lm import Message
from tutelage.text.byte_level import CHATML, encoder_tokenizer, pair_tokenizer
from tutelage.text.pairs import PairRenderer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

USER = (Message("user", "2+2?"),)
TURNS = (Message("system", "Count."), Message("user", "1+1?"), Message("assistant", "2"), *USER)
END = 1


def spelled(text: str) -> list[int]:
    return [byte + 4 for byte in text.encode()]


def bart_like() -> Tokenizer:
    """Rows between <s> and </s>, of which the second ends answers."""
    made = encoder_tokenizer()
    return Tokenizer(made.json, SpecialTokens(eos="</s>", pad="<pad>", bos="<s>"))


def test_t5_puts_an_end_behind_source_and_target() -> None:
    renderer = PairRenderer(pair_tokenizer())
    assert renderer.prompt_ids(USER) == [*spelled("2+2?"), END]
    assert renderer.prompt_ids("2+2?") == [*spelled("2+2?"), END]
    assert renderer.example_ids(USER, "4") == ([*spelled("2+2?"), END], [*spelled("4"), END])
    assert renderer.continuation_ids(USER, "4") == ([*spelled("2+2?"), END], spelled("4"))


def test_bart_puts_tokens_around_both() -> None:
    renderer = PairRenderer(bart_like())
    assert renderer.prompt_ids(USER) == [0, *spelled("2+2?"), 2]
    assert renderer.example_ids(USER, "4") == ([0, *spelled("2+2?"), 2], [0, *spelled("4"), 2])
    assert renderer.prompt_ids("<s>2+2?</s>") == [0, *spelled("2+2?"), 2], "never twice"


def test_control_tokens_count_in_raw_text_alone() -> None:
    renderer = PairRenderer(pair_tokenizer())
    assert renderer.prompt_ids("a<mask>") == [*spelled("a"), 3, END]
    typed = (Message("user", "a<mask></s>"),)
    assert renderer.prompt_ids(typed) == [*spelled("a<mask></s>"), END]
    assert renderer.example_ids(USER, "</s>b")[1] == [*spelled("</s>b"), END]


def test_a_single_query_is_read_as_it_is_and_more_turns_written_out() -> None:
    renderer = PairRenderer(pair_tokenizer())
    told = (Message("system", "Count."), *USER)
    assert renderer.prompt_ids(told) == [*spelled("Count.\n\n2+2?"), END]
    written = "Count.\n\nInput: 1+1?\nOutput: 2\n\nInput: 2+2?\nOutput:"
    assert renderer.prompt_ids(TURNS) == [*spelled(written), END]
    assert renderer.lead(TURNS) == "" and renderer.stops(TURNS) == ()


def test_no_chat_template_is_used() -> None:
    made = pair_tokenizer()
    with_template = Tokenizer(made.json, made.special, template=CHATML)
    renderer = PairRenderer(with_template)
    assert not renderer.chat
    assert renderer.prompt_ids(USER) == PairRenderer(made).prompt_ids(USER)


def test_a_tokenizer_that_writes_no_rows_still_ends_answers() -> None:
    bare = json.loads(pair_tokenizer().json) | {"post_processor": None}
    renderer = PairRenderer(Tokenizer(json.dumps(bare), SpecialTokens(eos="</s>")))
    assert renderer.example_ids(USER, "4") == (spelled("2+2?"), [*spelled("4"), END])
    endless = PairRenderer(Tokenizer(json.dumps(bare), SpecialTokens()))
    with pytest.raises(GuardError):
        endless.example_ids(USER, "4")
