"""What every encoder that transformers has must show against it, in float32 on random weights.

theirs, ours = twins(BertForMaskedLM, BertConfig, ...)     tests/parity/architecture.py
check_outputs(theirs, ours)         scores, vectors and pooled vectors; padding on either side
check_gradients(theirs, ours)
check_saved(theirs, ours)           our weights, put back into a fresh model of theirs
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tests.parity.architecture import LENGTHS, TOLERANCE, Side, same_gradients
from tests.parity.witness import VOCABULARY, checkpoint_of
from tutelage.checkpoints.build import hf_state
from tutelage.data.pack import Example, pack
from tutelage.models.forward import forward
from tutelage.models.transformer import Transformer

Outputs = Mapping[str, list[torch.Tensor]]
"""By name, of each row: vectors and scores of all its tokens, its pooled vector, label scores."""


def rows_of(theirs: Any, seed: int = 0) -> list[Example]:
    """Random rows of two parts, none of whose tokens is the padding's; every vector is wanted."""
    drawn = random.Random(seed)
    known = [id for id in range(VOCABULARY) if id != theirs.config.pad_token_id]
    types = theirs.config.type_vocab_size
    rows = []
    for length in LENGTHS:
        ids = tuple(drawn.choices(known, k=length))
        kinds = tuple(sorted(drawn.randrange(types) for _ in ids))
        rows.append(Example(ids, tuple(range(length)), ids, types=kinds, lead=length))
    return rows


def our_outputs(ours: Transformer, rows: Sequence[Example]) -> Outputs:
    found = pack(rows)
    hidden = forward(ours, found)
    lengths = [row.inputs for row in rows]
    outputs = {"vectors": list(ours.vectors(hidden).split(lengths))}
    if ours.head is not None:
        outputs["scores"] = list(ours.logits(hidden).split(lengths))
    if ours.pooler is not None:
        pooled = ours.pooled(hidden[[start for start, _ in found.spans]])
        outputs["pooled"] = list(pooled)
        if ours.pooler.labels is not None:
            outputs["labels"] = list(ours.pooler.scores(pooled))
    return outputs


def their_outputs(theirs: Any, rows: Sequence[Example], side: Side) -> Outputs:
    """All rows read as one padded batch."""
    width, count = max(row.inputs for row in rows), len(rows)
    ids = torch.full((count, width), theirs.config.pad_token_id)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    left = [0 if side == "right" else width - row.inputs for row in rows]
    places = [slice(first, first + row.inputs) for first, row in zip(left, rows, strict=True)]
    for line, (row, place) in enumerate(zip(rows, places, strict=True)):
        ids[line, place], mask[line, place] = torch.tensor(row.ids), 1
        types[line, place] = torch.tensor(row.types)
    asked = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    if theirs.config.model_type == "bert":  # the others find their positions by the padding
        asked["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    given = theirs(**asked, output_hidden_states=True)
    tokens = {
        "vectors": given.hidden_states[-1],
        "scores": given.get("logits", given.get("prediction_logits")),
    }
    outputs = {
        name: [value[line, place] for line, place in enumerate(places)]
        for name, value in tokens.items()
        if value is not None
    }
    if side == "right":  # on the other side they pool the padding
        whole = {
            "pooled": given.get("pooler_output"),
            "labels": given.get("seq_relationship_logits"),
        }
        outputs |= {name: list(value) for name, value in whole.items() if value is not None}
    return outputs


def check_outputs(theirs: Any, ours: Transformer) -> None:
    rows = rows_of(theirs)
    sides: tuple[Side, ...] = ("left", "right")
    with torch.inference_mode():
        found = our_outputs(ours, rows)
        for side in sides:
            for name, values in their_outputs(theirs, rows, side).items():
                for mine, expected in zip(found[name], values, strict=True):
                    far = (mine - expected).abs().max()
                    assert far < TOLERANCE, f"{name}, padding {side}: {far}"


def check_gradients(theirs: Any, ours: Transformer) -> None:
    """Every weight's gradient of one number made of all that the model's class gives."""
    rows = rows_of(theirs, seed=1)
    ours.requires_grad_(True)
    expected, found = their_outputs(theirs, rows, "right"), our_outputs(ours, rows)
    for outputs in (expected, found):
        torch.manual_seed(5)
        products = [
            (value * torch.randn(value.shape)).sum()
            for name in sorted(expected)
            for value in outputs[name]
        ]
        (torch.stack(products).sum() / 40).backward()
    same_gradients(theirs, ours)


def check_saved(theirs: Any, ours: Transformer) -> None:
    """Our weights under their names fill a fresh model of theirs, which then gives the same."""
    fresh = type(theirs)(theirs.config).float().eval()
    left_out = fresh.load_state_dict(hf_state(ours, checkpoint_of(theirs)), strict=False)
    assert not left_out.unexpected_keys
    fresh.tie_weights()
    rows = rows_of(theirs, seed=2)
    with torch.inference_mode():
        mine, expected = (their_outputs(model, rows, "right") for model in (fresh, theirs))
    for name, values in expected.items():
        assert all(map(torch.equal, mine[name], values)), name
