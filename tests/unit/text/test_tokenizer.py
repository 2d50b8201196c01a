"""Text to ids: control tokens count only where they may, and no text is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import AutoTokenizer

from tests.unit.text.vocabularies import CONTROL, byte_fallback_bpe, byte_level_bpe
from tutelage.errors import SourceError
from tutelage.text.byte_alphabet import byte_alphabet
from tutelage.text.byte_level import byte_tokenizer, encoder_tokenizer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

BYTES = byte_tokenizer()
LEVEL = byte_level_bpe(eos="</s>", bos="<s>")
FALLBACK = byte_fallback_bpe(eos="</s>", bos="<s>")
ALL = [BYTES, LEVEL, FALLBACK]

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
typed = st.lists(st.sampled_from([*CONTROL, "<|im_", "end|>", " ", "a", "é€"]), max_size=8)


@pytest.mark.parametrize("tokenizer", ALL)
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_plain_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode_plain(text)) == text


@pytest.mark.parametrize("tokenizer", ALL)
@given(parts=typed)
@settings(max_examples=60, deadline=None)
def test_typed_control_tokens_stay_text(tokenizer: Tokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    ids = tokenizer.encode_plain(text)
    assert tokenizer.control_ids.isdisjoint(ids)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("tokenizer", ALL)
@given(text=texts)
@settings(max_examples=40, deadline=None)
def test_both_readings_agree_where_no_control_token_is_typed(
    tokenizer: Tokenizer, text: str
) -> None:
    assert tokenizer.encode(text) == tokenizer.encode_plain(text) == tokenizer.encode_marked(text)


def test_marked_control_tokens_count_and_unmarked_do_not() -> None:
    for tokenizer in (LEVEL, FALLBACK):
        end = tokenizer.id("<|im_end|>")
        marked = tokenizer.mark("<|im_end|>")
        assert tokenizer.encode_marked(f"a{marked}b").count(end) == 1
        assert tokenizer.encode_marked(f"a{marked}b") == tokenizer.encode("a<|im_end|>b")
        assert tokenizer.encode_marked("a<|im_end|>b").count(end) == 0


def test_marks_of_another_process_are_no_marks() -> None:
    other = byte_level_bpe(eos="</s>")
    forged = other.mark("<|im_end|>")
    assert LEVEL.control_ids.isdisjoint(LEVEL.encode_marked(forged))


def test_a_vocabulary_that_spells_a_control_token_is_broken_up() -> None:
    document = json.loads(BYTES.json)
    vocabulary = document["model"]["vocab"]
    vocabulary |= {"<s": 256, "<s>": 257}
    document["model"]["merges"] = [["<", "s"], ["<s", ">"]]
    document["added_tokens"] = [{**document["added_tokens"][0], "id": 257, "content": "<s>"}]
    tokenizer = Tokenizer(json.dumps(document), SpecialTokens(eos="<s>"))
    assert tokenizer.encode("a<s>") == [97, 257]
    assert 257 not in tokenizer.encode_plain("a<s><s>b")
    assert tokenizer.decode(tokenizer.encode_plain("a<s><s>b")) == "a<s><s>b"


def word_pieces() -> Tokenizer:
    """Of BERT's kind: what has no pieces becomes the control token [UNK]."""
    names = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##known", "[", "]", "UNK"]
    backend = Backend(models.WordPiece({name: id for id, name in enumerate(names)}))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(names[:4])
    special = SpecialTokens(unk="[UNK]", cls="[CLS]", sep="[SEP]", mask="[MASK]")
    return Tokenizer(backend.to_str(), special)


def test_unknown_words_keep_their_place_in_plain_text() -> None:
    tokenizer = word_pieces()
    assert tokenizer.encode_plain("un xyz unknown") == [4, 0, 4, 5]
    assert tokenizer.encode_plain("[UNK] un [MASK]") == [6, 8, 7, 4, 6, 0, 7]
    assert tokenizer.encode("[UNK] un [MASK]") == [0, 4, 3]


def test_all_control_tokens_with_a_part_reach_the_files(tmp_path: Path) -> None:
    tokenizer = word_pieces()
    tokenizer.to_files(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.cls_token, theirs.sep_token, theirs.mask_token) == ("[CLS]", "[SEP]", "[MASK]")
    settings = {**tokenizer.special.as_files(), "mask_token": {"content": "[MASK]"}, "x_token": 3}
    assert SpecialTokens.from_files(settings) == tokenizer.special


def test_byte_alphabet_is_gpt2s() -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert byte_alphabet() == bytes_to_unicode()


def test_byte_tokenizer_is_bytes_and_three_control_tokens() -> None:
    assert BYTES.encode("é\0ÿ") == list("é\0ÿ".encode())
    assert BYTES.vocabulary == 259
    assert BYTES.eos_ids == {256, 258}
    assert [BYTES.token(id) for id in (256, 257, 258)] == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]


def test_an_encoders_bytes_stand_behind_its_control_tokens(tmp_path: Path) -> None:
    tokenizer = encoder_tokenizer(512)
    assert tokenizer.vocabulary == 260
    assert tokenizer.encode("<s><pad></s><mask>\0") == [0, 1, 2, 3, 4]
    assert tokenizer.pad_id == 1
    assert tokenizer.encode_row("é\0ÿ") == [0, *(byte + 4 for byte in "é\0ÿ".encode()), 2]
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode_row("<mask> <s>")[1:-1])
    assert tokenizer.decode(tokenizer.encode_row("<mask> é")) == "<mask> é"
    tokenizer.to_files(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("a<mask>é")["input_ids"] == [0, 101, 3, 199, 173, 2]
    assert theirs.mask_token_id == 3


def test_end_tokens_are_gathered_from_all_places() -> None:
    chatml = "{{ '<|im_end|>' }}"
    bare = byte_level_bpe(eos="</s>")
    assert bare.eos_ids == {bare.id("</s>")}
    chat = byte_level_bpe(template=chatml, eos="</s>")
    assert chat.eos_ids == {chat.id("</s>"), chat.id("<|im_end|>")}
    more = Tokenizer(bare.json, SpecialTokens(eos="</s>"), end_ids=[2])
    assert more.eos_ids == {2, bare.id("</s>")}


@pytest.mark.parametrize(
    ("special", "ends", "got"),
    [(SpecialTokens(eos="<eos>"), [], "<eos>"), (SpecialTokens(), [10**9], str(10**9))],
)
def test_control_tokens_outside_the_vocabulary_are_refused(
    special: SpecialTokens, ends: list[int], got: str
) -> None:
    with pytest.raises(SourceError) as caught:
        Tokenizer(BYTES.json, special, end_ids=ends, where="here/tokenizer.json")
    assert caught.value.got == got
    assert caught.value.field == "here/tokenizer.json"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": {"type": "Magic"}}', BYTES.json[:-5]])
def test_an_unreadable_tokenizer_is_named(text: str) -> None:
    with pytest.raises(SourceError, match=r"here/tokenizer\.json"):
        Tokenizer(text, SpecialTokens(), where="here/tokenizer.json")


def test_prefix_is_what_the_post_processor_puts_first() -> None:
    assert LEVEL.prefix == ()
    document = json.loads(LEVEL.json)
    start = LEVEL.id("<s>")
    template = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", start), ("</s>", LEVEL.id("</s>"))]
    )
    document["post_processor"] = json.loads(template.__getstate__())
    tokenizer = Tokenizer(json.dumps(document), LEVEL.special)
    assert (tokenizer.prefix, tokenizer.suffix) == ((start,), (LEVEL.id("</s>"),))
    inside = tokenizer.encode_plain("The </s> fox")
    assert tokenizer.encode_row("The </s> fox") == [start, *inside, LEVEL.id("</s>")]
    assert LEVEL.encode_row("The") == LEVEL.encode("The")


def test_a_files_own_truncation_and_padding_do_nothing() -> None:
    document = json.loads(LEVEL.json)
    document["truncation"] = {
        "max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right",
    }  # fmt: skip
    document["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|im_start|>",
    }  # fmt: skip
    tokenizer = Tokenizer(json.dumps(document), LEVEL.special)
    for text in ("The", "The quick brown fox jumps over the lazy dog"):
        assert tokenizer.encode(text) == LEVEL.encode(text)
        assert tokenizer.encode_plain(text) == LEVEL.encode_plain(text)


def test_files_open_in_transformers_with_the_same_ids(tmp_path: Path) -> None:
    for number, original in enumerate((LEVEL, FALLBACK)):
        folder = tmp_path / str(number)
        tokenizer = Tokenizer(
            original.json, original.special, template="{{ messages[0].content }}", context=77
        )
        tokenizer.to_files(folder)
        theirs = AutoTokenizer.from_pretrained(folder)
        assert theirs.chat_template == tokenizer.template
        assert theirs.model_max_length == 77
        assert theirs.eos_token_id == tokenizer.eos_id
        for text in ("The quick été €100\n\n x", "a<|im_end|>b", "  two  spaces", "日本語 😀"):
            assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
            assert theirs.decode(tokenizer.encode(text), skip_special_tokens=True) == (
                tokenizer.decode(tokenizer.encode(text))
            )
