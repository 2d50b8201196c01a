"""Learnt vocabularies: what must be in them is, text comes back, the same text gives the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.unit.tokenizers.corpora import KINDS, SENTINELS, SIZE, TYPED, learnt, texts
from tutelage.errors import ConfigError, DataError, RequestError, UnknownName
from tutelage.tokenizers.measure import measure
from tutelage.tokenizers.open import open_tokenizer
from tutelage.tokenizers.sentinels import sentinel_ids
from tutelage.tokenizers.train import save, train

FIRST = {
    "bpe": ["<|endoftext|>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "unigram": ["<pad>", "</s>", "<unk>"],
}
SAMPLES = [
    "The generator yields 42 items,  and\n    returns None. It's done!",
    "naïve été 日本語 😀 → ½",
    "a <extra_id_0> b<extra_id_4> [MASK] <|endoftext|> </s>",
    "",
    " ",
]

plain = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
typed = st.lists(st.sampled_from([*TYPED, "<", "|>", " ", "a", "é"]), max_size=8).map("".join)


@pytest.mark.parametrize("kind", KINDS)
def test_control_tokens_first_sentinels_last_and_the_size_is_kept(kind: str) -> None:
    tokenizer = learnt(kind).tokenizer
    assert tokenizer.vocabulary == SIZE
    assert [tokenizer.token(id) for id in range(len(FIRST[kind]))] == FIRST[kind]
    # T5's order: <extra_id_0> is the last id.
    assert sentinel_ids(tokenizer) == [SIZE - 1 - number for number in range(SENTINELS)]
    assert tokenizer.control_ids == {*range(len(FIRST[kind])), *sentinel_ids(tokenizer)}


def test_the_roles_of_control_tokens_are_known() -> None:
    bpe, wordpiece, unigram = (learnt(kind).tokenizer for kind in KINDS)
    assert (bpe.eos_id, bpe.unk_id) == (0, None)
    assert (wordpiece.pad_id, wordpiece.unk_id, wordpiece.special.mask) == (0, 1, "[MASK]")
    assert (unigram.pad_id, unigram.eos_id, unigram.unk_id) == (0, 1, 2)


@given(text=plain | typed)
@settings(max_examples=200, deadline=None)
def test_bytes_bring_every_text_back(text: str) -> None:
    tokenizer = learnt("bpe").tokenizer
    ids = tokenizer.encode_plain(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.control_ids.isdisjoint(ids)


@given(text=plain | typed)
@settings(max_examples=200, deadline=None)
def test_pieces_bring_every_text_back_but_the_sign_for_a_space(text: str) -> None:
    tokenizer = learnt("unigram").tokenizer
    ids = tokenizer.encode_plain(text)
    assert tokenizer.decode(ids) == text.replace("▁", " ")
    assert tokenizer.control_ids.isdisjoint(ids)


@given(parts=st.lists(st.sampled_from(["The", "object", "été", "is", "not"]), min_size=1))
@settings(max_examples=50, deadline=None)
def test_words_come_back_from_word_pieces(parts: list[str]) -> None:
    tokenizer = learnt("wordpiece").tokenizer
    assert tokenizer.decode(tokenizer.encode_plain(" ".join(parts))) == " ".join(parts)


def test_word_pieces_are_the_longest_from_the_left() -> None:
    tokenizer = learnt("wordpiece").tokenizer
    vocabulary = json.loads(tokenizer.json)["model"]["vocab"]
    for word in ("nongenerator", "expressions", "classname", "iteratively"):
        pieces, at = [], 0
        while at < len(word):
            prefix = "##" if at else ""
            end = next(e for e in range(len(word), at, -1) if prefix + word[at:e] in vocabulary)
            pieces.append(prefix + word[at:end])
            at = end
        assert [tokenizer.token(id) for id in tokenizer.encode_plain(word)] == pieces


def test_unigram_finds_the_most_probable_pieces() -> None:
    tokenizer = learnt("unigram").tokenizer
    scores = dict(map(tuple, json.loads(tokenizer.json)["model"]["vocab"]))
    for word in ("▁generator", "▁unbounded", "▁iterations"):
        best: list[tuple[float, int]] = [(0.0, 0)]  # score of the best cut of word[:end]; its start
        for end in range(1, len(word) + 1):
            ways = (
                (best[start][0] + scores[word[start:end]], start)
                for start in range(end)
                if word[start:end] in scores
            )
            best.append(max(ways))
        found = [tokenizer.token(id) or "" for id in tokenizer.encode_plain(word.replace("▁", " "))]
        assert sum(scores[piece] for piece in found) == pytest.approx(best[-1][0], abs=1e-9)


def test_a_frequent_word_is_one_piece_though_it_is_part_of_no_other() -> None:
    tokenizer = learnt("unigram").tokenizer
    words = Counter(word for text in texts() for word in text.split(" ") if word.isalpha())
    frequent = [word for word, _ in words.most_common(30)]
    cut = {word: len(tokenizer.encode_plain(f" {word}")) for word in frequent}
    assert {word for word, pieces in cut.items() if pieces > 1} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_tokenizer(kind: str) -> None:
    """Also in another process, in which the library's hash maps have another order."""
    again = {train(texts(), kind, SIZE, sentinels=SENTINELS).tokenizer.json for _ in range(4)}
    assert again == {learnt(kind).tokenizer.json}
    code = (
        "import hashlib\nfrom tests.unit.tokenizers.corpora import learnt\n"
        f"print(hashlib.sha256(learnt({kind!r}).tokenizer.json.encode()).hexdigest())"
    )
    root = Path(__file__).resolve().parents[3]
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    ours = hashlib.sha256(learnt(kind).tokenizer.json.encode()).hexdigest()
    assert other.stdout.strip() == ours


@pytest.mark.parametrize("kind", KINDS)
def test_an_iterator_will_do(kind: str) -> None:
    some = texts()[:6]
    whole = train(some, kind, 700, sentinels=0)
    assert train(iter(some), kind, 700, sentinels=0).tokenizer.json == whole.tokenizer.json


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_opens_here_and_in_transformers_with_the_same_ids(
    kind: str, tmp_path: Path
) -> None:
    tokenizer = learnt(kind).tokenizer
    save(tokenizer, tmp_path / "out")
    ours = open_tokenizer(str(tmp_path / "out"))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ours.json == tokenizer.json
    assert ours.special == tokenizer.special
    assert len(theirs) == tokenizer.vocabulary
    for role in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"):
        assert getattr(theirs, f"{role}_token") == getattr(tokenizer.special, role)
    for text in SAMPLES:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer.encode(text) == ours.encode(text)
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids)


def test_whole_inputs_are_framed_as_in_the_published_models(tmp_path: Path) -> None:
    for kind in ("wordpiece", "unigram"):
        save(learnt(kind).tokenizer, tmp_path / kind)
    bert = AutoTokenizer.from_pretrained(tmp_path / "wordpiece")
    assert bert.decode(bert("The object", "is not")["input_ids"]) == (
        "[CLS] The object [SEP] is not [SEP]"
    )
    pair = bert("a", "b", return_token_type_ids=True)
    assert pair["token_type_ids"] == [0, 0, 0, 1, 1]
    t5 = AutoTokenizer.from_pretrained(tmp_path / "unigram")
    assert t5("The object")["input_ids"][-1] == t5.eos_token_id


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_behind_the_kinds_own(kind: str) -> None:
    asked = ("<|im_start|>", "<|im_end|>")
    tokenizer = train(texts()[:6], kind, 700, special=asked, sentinels=0).tokenizer
    ids = [tokenizer.id(token) for token in asked]
    assert ids == [len(FIRST[kind]), len(FIRST[kind]) + 1]
    assert tokenizer.control_ids.issuperset(ids)
    assert tokenizer.encode("a<|im_end|>")[-1] == ids[1]
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode_plain("a<|im_end|>")) == (
        kind != "wordpiece" or "|" in " ".join(texts()[:6])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_too_small_a_vocabulary_is_refused_and_the_least_one_named(kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train(texts(), kind, 40, sentinels=2)
    assert (caught.value.field, caught.value.got) == ("--vocabulary", "40")
    assert "2 sentinels" in str(caught.value.expected)
    least = int(str(caught.value.expected).split()[2].rstrip(":"))
    assert train(texts(), kind, least, sentinels=2).tokenizer.vocabulary <= least
    with pytest.raises(ConfigError):
        train(texts(), kind, least - 1, sentinels=2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_text_gives_fewer_tokens_and_says_so(kind: str) -> None:
    trained = train(["the cat sat on the mat"], kind, 5000)
    assert trained.tokenizer.vocabulary < 500
    assert any(
        str(trained.tokenizer.vocabulary) in note and "5000" in note for note in trained.notes
    )
    assert learnt(kind).notes == () or "rare" in learnt(kind).notes[0]


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_rare_characters_have_no_token_and_are_said(kind: str) -> None:
    trained = train(["a b c " * 10_000 + "ß 語"], kind, 500, sentinels=0)
    assert "without a token of their own: 2 (" in trained.notes[0]
    ids = trained.tokenizer.encode_plain("語")
    if kind == "wordpiece":
        assert ids == [trained.tokenizer.unk_id]
    else:
        assert [trained.tokenizer.token(id) for id in ids] == ["<0xE8>", "<0xAA>", "<0x9E>"]
    # ASCII has tokens, whether or not the text holds it.
    fit = measure(trained.tokenizer, ["z | {Q} @"])
    assert (fit.unknown, fit.fallback) == (0, 0)
    alone = train(["\0 \U000f0000"], kind, 500, sentinels=0)
    assert alone.tokenizer.decode(alone.tokenizer.encode_plain("~")) == "~"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", [[], [""], [" \n", "\t"]])
def test_no_text_is_refused(kind: str, given: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        train(given, kind, 900)
    assert (caught.value.field, caught.value.got) == ("--data", "no text")


def test_bad_requests_name_the_field() -> None:
    with pytest.raises(UnknownName) as unknown:
        train(texts(), "wordpice", 900)
    assert (unknown.value.field, unknown.value.hint) == ("--kind", "did you mean 'wordpiece'?")
    assert unknown.value.expected == "one of bpe, unigram, wordpiece"
    for special, sentinels in ((["[MASK]"], 0), ([" "], 0), (["x", "x"], 0), (["<extra_id_0>"], 1)):
        with pytest.raises(ConfigError) as caught:
            train(texts(), "wordpiece", 900, special=special, sentinels=sentinels)
        assert caught.value.field == "--special"
    with pytest.raises(ConfigError) as negative:
        train(texts(), "bpe", 900, sentinels=-1)
    assert (negative.value.field, negative.value.got) == ("--sentinels", "-1")


def test_a_folder_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        save(learnt("bpe").tokenizer, tmp_path)
    assert (caught.value.field, caught.value.got) == ("--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    save(learnt("bpe").tokenizer, tmp_path / "empty")
    assert (tmp_path / "empty" / "tokenizer.json").is_file()


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_runs_without_spaces_are_learnt_from_in_parts(kind: str) -> None:
    # As one word of 20,000 letters this gives tokens of thousands, and time by its square.
    tokenizer = train(["ab" * 10_000, "the rest"], kind, 400, sentinels=0).tokenizer
    assert 50 < max(len(tokenizer.token(id) or "") for id in range(tokenizer.vocabulary)) <= 102
