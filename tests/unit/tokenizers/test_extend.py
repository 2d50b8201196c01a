"""New tokens for a domain: old ids stay, the words are cut less, and weights follow."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.unit.text.vocabularies import byte_fallback_bpe
from tests.unit.tokenizers.corpora import KINDS, learnt, texts
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.errors import ConfigError, DataError, SourceError
from tutelage.models.catalogue import ARCHITECTURES
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer
from tutelage.tokenizers.bpe import further_merges, merged
from tutelage.tokenizers.extend import domain_words, extend, new_pieces
from tutelage.tokenizers.measure import measure
from tutelage.tokenizers.rows import extended_model, rows_by_token, with_new_rows
from tutelage.tokenizers.train import save

DOMAIN = [
    "Myocardial infarction: the myocardial tissue and the pericardium. Naïveté of naïveté.",
    "Acute myocardial infarction, pericarditis; an electrocardiogram of the myocardium. Gŵydd ŵŵ.",
    "The electrocardiogram shows an infarction. Pericarditis and myocarditis, 12345 12345 ====.",
] * 3
BASES = {
    **{kind: learnt(kind).tokenizer for kind in KINDS},
    "bytes": byte_tokenizer(),
    "sentencepiece": byte_fallback_bpe(unk="<unk>"),
}
"""Also one whose control tokens lie outside the model's vocabulary, and one without words."""

words = st.lists(st.text(alphabet="abc", min_size=1, max_size=6), min_size=1, max_size=12)


@pytest.mark.parametrize("name", BASES)
def test_old_ids_stay_and_new_ones_come_behind(name: str) -> None:
    base = BASES[name]
    extended = extend(base, DOMAIN, 12)
    assert extended.vocabulary == base.vocabulary + 12
    for id in range(base.vocabulary):
        assert extended.token(id) == base.token(id)
    assert extended.control_ids == base.control_ids
    assert extended.special == base.special
    assert extended.eos_ids == base.eos_ids


@pytest.mark.parametrize("name", BASES)
def test_words_of_the_domain_are_cut_less_and_others_as_before(name: str) -> None:
    base = BASES[name]
    extended = extend(base, DOMAIN, 40)
    before, after = measure(base, DOMAIN), measure(extended, DOMAIN)
    assert after.tokens < 0.75 * before.tokens
    for text in ("12345 12345 ==== 日本", "[1, 2]\n"):  # no word of letters
        assert extended.encode_plain(text) == base.encode_plain(text)


@pytest.mark.parametrize("name", ["bpe", "unigram", "bytes", "sentencepiece"])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(max_examples=50, deadline=None)
def test_text_comes_back_as_before(name: str, text: str) -> None:
    base, extended = BASES[name], extended_once(name)
    for one in (text, f"myocardial {text} pericarditis", *DOMAIN[:2]):
        assert extended.decode(extended.encode_plain(one)) == (base.decode(base.encode_plain(one)))


_extended: dict[str, Tokenizer] = {}


def extended_once(name: str) -> Tokenizer:
    if name not in _extended:
        _extended[name] = extend(BASES[name], DOMAIN, 40)
    return _extended[name]


@pytest.mark.parametrize("name", BASES)
def test_pieces_spell_the_new_token_in_old_ids(name: str) -> None:
    base, extended = BASES[name], extended_once(name)
    pieces = new_pieces(base, extended)
    assert sorted(pieces) == list(range(base.vocabulary, extended.vocabulary))
    for id, ids in pieces.items():
        assert max(ids) < base.vocabulary
        if base.unk_id not in ids:
            assert len(ids) > 1
            assert base.decode(ids) == extended.decode([id])


@pytest.mark.parametrize("name", BASES)
def test_the_same_text_gives_the_same_tokens(name: str) -> None:
    assert extend(BASES[name], iter(DOMAIN), 40).json == extended_once(name).json


@pytest.mark.parametrize("name", ["bpe", "bytes", "sentencepiece"])
def test_new_merges_are_those_of_a_plain_recount(name: str) -> None:
    """Every pair counted anew before every merge; and the library then cuts words just so."""
    base, extended = BASES[name], extended_once(name)
    backend = tokenizers.Tokenizer.from_str(base.json)
    counted = domain_words(backend, DOMAIN)
    pieces = {word: [p.value for p in backend.model.tokenize(word)] for word in counted}
    known = set(backend.get_vocab())
    apart = {"<unk>", *(f"<0x{byte:02X}>" for byte in range(256))}
    merges: list[tuple[str, str]] = []
    while len(merges) < 40:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, cut in pieces.items():
            for pair in pairwise(cut):
                if "".join(pair) not in known and apart.isdisjoint(pair):
                    pairs[pair] += counted[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        known.add("".join(best))
        pieces = {word: merged(cut, best) for word, cut in pieces.items()}
    document = json.loads(tokenizers.Tokenizer.from_str(extended.json).to_str())
    assert document["model"]["merges"][-40:] == [list(pair) for pair in merges]
    model = tokenizers.Tokenizer.from_str(extended.json).model
    for word, cut in pieces.items():
        assert [piece.value for piece in model.tokenize(word)] == cut


@given(corpus=words, count=st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_merges_of_any_words_are_those_of_a_plain_recount(corpus: list[str], count: int) -> None:
    counted = Counter(corpus)
    found = further_merges(counted, list, count, frozenset("abc"))
    pieces, expected, known = {word: list(word) for word in counted}, [], set("abc")
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, cut in pieces.items():
            for pair in pairwise(cut):
                pairs[pair] += counted[word]
        left = [p for p, times in pairs.items() if times >= 2 and "".join(p) not in known]
        if not left:
            break
        expected.append(min(left, key=lambda pair: (-pairs[pair], pair)))
        known.add("".join(expected[-1]))
        pieces = {word: merged(cut, expected[-1]) for word, cut in pieces.items()}
    assert found == expected


@pytest.mark.parametrize("name", BASES)
def test_the_extended_folder_opens_in_transformers(name: str, tmp_path: Path) -> None:
    extended = extended_once(name)
    save(extended, tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(theirs) == extended.vocabulary
    for text in (*DOMAIN, "The object is not. <|im_end|> 日本"):
        assert theirs(text, add_special_tokens=False)["input_ids"] == extended.encode(text)


def test_new_rows_are_the_mean_of_their_pieces() -> None:
    weight = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 8.0], [9.0, 9.0]])
    grown = with_new_rows(weight, {4: (0, 2), 5: (1, 1, 2)})
    assert torch.equal(grown[:4], weight)
    assert torch.equal(grown[4], torch.tensor([2.0, 4.5]))
    assert torch.allclose(grown[5], torch.tensor([8 / 3, 14 / 3]))
    # A row that pads the vocabulary is taken before a new one is made; a bias has one axis.
    assert torch.equal(with_new_rows(weight, {3: (0, 1)})[3], torch.tensor([1.0, 2.0]))
    assert torch.equal(with_new_rows(torch.arange(3.0), {3: (0, 2)}), torch.tensor([0, 1, 2, 1.0]))
    assert torch.equal(
        with_new_rows(weight.T, {4: (0, 2)}, axis=1), with_new_rows(weight, {4: (0, 2)}).T
    )


def test_means_are_taken_in_float32_and_gaps_refused() -> None:
    weight = torch.full((300, 1), 1.0, dtype=torch.bfloat16)
    grown = with_new_rows(weight, {300: tuple(range(300))})
    assert (grown.dtype, grown[300].item()) == (torch.bfloat16, 1.0)
    with pytest.raises(SourceError) as caught:
        with_new_rows(weight, {302: (0,)})
    assert caught.value.field == "vocab_size"


def test_a_model_grows_with_its_tokenizer_and_opens_in_transformers(tmp_path: Path) -> None:
    checkpoint = open_checkpoint("preset:llama-tiny", seed=3)
    extended = extend(checkpoint.tokenizer, DOMAIN, 30)
    pieces = new_pieces(checkpoint.tokenizer, extended)
    save_folder(None, checkpoint, tmp_path / "before")
    save_folder(None, extended_model(checkpoint, extended, pieces), tmp_path / "after")
    before, after = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32)
        for name in ("before", "after")
    )
    assert after.config.vocab_size == max(extended.vocabulary, before.config.vocab_size)
    old, new = before.get_input_embeddings().weight, after.get_input_embeddings().weight
    kept = [id for id in range(len(old)) if id not in pieces]
    assert torch.equal(new[kept], old[kept])
    for id, ids in pieces.items():
        assert torch.allclose(new[id], old[list(ids)].mean(0), atol=1e-6)
    ids = torch.tensor([checkpoint.tokenizer.encode("The object is not.")])
    both = min(len(old), len(new))
    kept = [id for id in range(both) if id not in pieces]
    with torch.no_grad():
        assert torch.allclose(
            after(ids).logits[..., kept], before(ids).logits[..., kept], atol=1e-5
        )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "after")
    assert tokenizer("myocardial")["input_ids"] == extended.encode("myocardial")


def tiny_presets() -> list[str]:
    specs = (ARCHITECTURES.get(name) for name in ARCHITECTURES.names())
    return [name for spec in specs for name in spec.presets if name.endswith("-tiny")]


@pytest.mark.parametrize("preset", tiny_presets())
def test_every_architecture_is_built_with_its_new_rows(preset: str) -> None:
    checkpoint = open_checkpoint(f"preset:{preset}")
    extended = extend(checkpoint.tokenizer, DOMAIN, 12)
    pieces = new_pieces(checkpoint.tokenizer, extended)
    grown = extended_model(checkpoint, extended, pieces)
    assert grown.config["vocab_size"] == max(pieces) + 1 > checkpoint.config["vocab_size"]
    for name in rows_by_token(checkpoint.config):
        assert 12 + sum(checkpoint.weights[name].shape) >= sum(grown.weights[name].load().shape)
        assert sum(grown.weights[name].shape) > sum(checkpoint.weights[name].shape)
    assert build(grown) is not None


def test_what_cannot_be_extended_is_refused() -> None:
    with pytest.raises(ConfigError) as none:
        extend(byte_tokenizer(), DOMAIN, 0)
    assert (none.value.field, none.value.got) == ("--tokens", "0")
    with pytest.raises(DataError) as nothing:
        extend(learnt("bpe").tokenizer, ["12345 12345", texts()[0][:9]], 5)
    assert nothing.value.field == "--data"
    level = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    with pytest.raises(SourceError) as foreign:
        extend(Tokenizer(level.to_str(), SpecialTokens()), DOMAIN, 5)
    assert foreign.value.got == "WordLevel"
