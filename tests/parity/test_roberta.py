"""RoBERTa and XLM-R equal transformers' on the same random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from tests.parity.architecture import twins
from tests.parity.encoder import check_gradients, check_outputs, check_saved, our_outputs, rows_of
from tests.parity.test_bert import SMALL
from tests.parity.witness import checkpoint_of
from tutelage.checkpoints.build import build
from tutelage.errors import ConfigError
from tutelage.models.catalogue import find_preset, shape, spec_for

CLASSES = ["RobertaModel", "RobertaForMaskedLM", "XLMRobertaModel", "XLMRobertaForMaskedLM"]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one type, relu": {"type_vocab_size": 1, "hidden_act": "relu"},
    "padding elsewhere": {"pad_token_id": 7, "layer_norm_eps": 1e-5},
    "padding first": {"pad_token_id": 0, "num_hidden_layers": 1},
}


def pair(kind: str, seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    config = transformers.XLMRobertaConfig if "XLM" in kind else transformers.RobertaConfig
    return twins(getattr(transformers, kind), config, seed, **{**SMALL, **settings})


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", CLASSES)
def test_outputs(kind: str, name: str) -> None:
    check_outputs(*pair(kind, **VARIANTS[name]))


@pytest.mark.parametrize("kind", CLASSES)
def test_gradients_and_saving(kind: str) -> None:
    theirs, ours = pair(kind, seed=1)
    check_saved(theirs, ours)
    check_gradients(theirs, ours)


def test_an_untied_head() -> None:
    theirs, ours = pair("RobertaForMaskedLM", tie_word_embeddings=False)
    check_outputs(theirs, ours)
    check_saved(theirs, ours)


def test_files_with_and_without_the_prefix() -> None:
    for kind, change in (
        ("RobertaModel", lambda name: f"roberta.{name}"),
        ("RobertaForMaskedLM", lambda name: name.removeprefix("roberta.")),
    ):
        theirs, ours = pair(kind)
        checkpoint = checkpoint_of(theirs)
        checkpoint.weights = {change(name): w for name, w in checkpoint.weights.items()}
        rows = rows_of(theirs)
        found, expected = our_outputs(build(checkpoint), rows), our_outputs(ours, rows)
        for name, values in expected.items():
            assert all(map(torch.equal, found[name], values)), name


def test_the_context_is_what_the_padding_leaves_of_the_table() -> None:
    assert shape(find_preset("roberta-base")).context == 512
    config = {**find_preset("roberta-base"), "pad_token_id": 513}
    with pytest.raises(ConfigError, match="no position is left"):
        spec_for(config).read(config)
