"""BERT equals transformers' on the same random weights, in each of its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from tests.parity.architecture import twins
from tests.parity.encoder import check_gradients, check_outputs, check_saved, our_outputs, rows_of
from tests.parity.witness import Held, checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.checkpoints.open import open_checkpoint
from tutelage.checkpoints.save import save_folder
from tutelage.data.pack import Example, pack
from tutelage.errors import ConfigError, SourceError
from tutelage.models.catalogue import spec_for
from tutelage.models.forward import forward

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 64, "initializer_range": 0.2,
}  # fmt: skip
CLASSES = ["BertModel", "BertForMaskedLM", "BertForPreTraining"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tanh gelu": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5},
    "relu, one head": {"hidden_act": "relu", "num_attention_heads": 1},
    "four types": {"type_vocab_size": 4, "intermediate_size": 96},
}


def pair(kind: str, seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    given = {**SMALL, **settings}
    return twins(getattr(transformers, kind), transformers.BertConfig, seed, **given)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", CLASSES)
def test_outputs(kind: str, name: str) -> None:
    check_outputs(*pair(kind, **VARIANTS[name]))


def test_an_untied_head() -> None:
    theirs, ours = pair("BertForMaskedLM", tie_word_embeddings=False)
    check_outputs(theirs, ours)
    check_saved(theirs, ours)


@pytest.mark.parametrize("kind", CLASSES)
def test_gradients_and_saving(kind: str) -> None:
    theirs, ours = pair(kind, seed=1)
    check_saved(theirs, ours)
    check_gradients(theirs, ours)


def first_vectors(ours: Any, rows: list[Example]) -> Tensor:
    with torch.inference_mode():
        vectors: Tensor = ours.vectors(forward(ours, pack(rows)))
    return vectors


def test_rows_that_begin_alike_share_nothing() -> None:
    """A token's vector depends on what comes after it, so no beginning is computed once for all."""
    theirs, ours = pair("BertModel")
    start = rows_of(theirs)[1].ids
    whole = [(*start, *row.ids) for row in rows_of(theirs)]
    rows = [Example(ids, (0,), (0,), lead=len(ids)) for ids in whole]
    together = first_vectors(ours, rows)
    apart = torch.cat([first_vectors(ours, [row]) for row in rows])
    assert (together - apart).abs().max() < 1e-5
    assert (together[0] - together[1]).abs().max() > 1e-2
    with pytest.raises(AssertionError, match="shared"):  # rows that do not say so are caught
        first_vectors(ours, [Example(ids, (18,), (0,)) for ids in whole])


@pytest.mark.parametrize("name", ["bert-tiny", "minilm-l6", "roberta-tiny"])
def test_a_saved_preset_opens_in_transformers(name: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(f"preset:{name}")
    save_folder(None, checkpoint, tmp_path / "model")
    kind = getattr(transformers, checkpoint.config["architectures"][0])
    theirs, loading = kind.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(loading[name] for name in ("missing_keys", "unexpected_keys"))
    text = "A row of a text."
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = checkpoint.tokenizer.encode_row(text)
    assert tokenizer(text)["input_ids"] == ids
    assert tokenizer.model_max_length == 512
    ours = build(checkpoint)
    row = Example(tuple(ids), tuple(range(len(ids))), tuple(ids), lead=len(ids))
    with torch.inference_mode():
        given = theirs.eval()(torch.tensor([ids]), output_hidden_states=True)
    assert (first_vectors(ours, [row]) - given.hidden_states[-1][0]).abs().max() < 1e-4


FILES = {
    "of pretraining, read as another class": lambda name: name,
    "of Google's first checkpoints": lambda name: name.replace(
        "LayerNorm.weight", "LayerNorm.gamma"
    ).replace("LayerNorm.bias", "LayerNorm.beta"),
    "with nothing before the encoder's names": lambda name: name.removeprefix("bert."),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", CLASSES)
def test_files_under_other_names(kind: str, name: str) -> None:
    """A file of one class serves another where it has what the other computes with."""
    theirs, _ = pair("BertForPreTraining")
    checkpoint = checkpoint_of(theirs)
    named = {FILES[name](old): weight for old, weight in checkpoint.weights.items()}
    named["bert.embeddings.position_ids"] = Held(torch.arange(64)[None])
    checkpoint.weights = named
    checkpoint.config = {**checkpoint.config, "architectures": [kind]}
    rows = rows_of(theirs)
    found, expected = our_outputs(build(checkpoint), rows), our_outputs(pair(kind)[1], rows)
    assert found.keys() == expected.keys()
    check_against = {"vectors", "scores", "pooled"} & found.keys()
    whole = our_outputs(build(checkpoint_of(theirs)), rows)
    for output in check_against:
        assert all(map(torch.equal, found[output], whole[output])), output


REFUSED: dict[str, Any] = {
    "is_decoder": True,
    "add_cross_attention": True,
    "position_embedding_type": "relative_key",
    "pruned_heads": {"0": [1]},
    "hidden_act": "mish",
    "num_attention_heads": 5,
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_computed_is_refused(field: str) -> None:
    config = {**SMALL, "architectures": ["BertModel"], "vocab_size": 97, field: REFUSED[field]}
    with pytest.raises(ConfigError) as caught:
        spec_for(config).read(config)
    assert field in str(caught.value.field)


def test_a_file_without_the_pooler_is_named() -> None:
    checkpoint = checkpoint_of(pair("BertForMaskedLM")[0])
    checkpoint.config = {**checkpoint.config, "architectures": ["BertModel"]}
    with pytest.raises(SourceError, match="lacks a weight") as caught:
        build(checkpoint)
    assert caught.value.field == "pooler.dense.weight"
