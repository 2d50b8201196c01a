"""What every encoder-decoder that transformers has must show against it, in float32.

theirs, ours = twins(T5ForConditionalGeneration, T5Config, num_layers=3, ...)
check_logits(theirs, ours)          packed rows against rows padded on either side
check_loss(theirs, ours)            loss and gradients of `labels`
check_saved(theirs, ours, folder)   our weights in a folder, opened by theirs
check_decoding(theirs, ours)        answers with a cache against full passes and `generate`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.parity.architecture import PAD, TOLERANCE, Side, rows_of, same_gradients
from tests.parity.test_generation import answers
from tests.parity.witness import checkpoint_of
from tutelage.checkpoints.build import hf_state
from tutelage.data.pack import Example, memory_of, pack
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.models.encoder_decoder import EncoderDecoder
from tutelage.models.forward import forward
from tutelage.objectives import clm

SOURCES = (7, 1, 40, 12)
TARGETS = (5, 19, 1, 30)
SIDES: tuple[Side, ...] = ("left", "right")
Rows = Sequence[Sequence[int]]


def our_logits(ours: Any, sources: Rows, targets: Rows) -> list[torch.Tensor]:
    """Scores after every token that each decoder row reads, all rows read as one pack."""
    examples = [
        Example(tuple(target), tuple(range(len(target))), tuple(target), memory=tuple(source))
        for source, target in zip(sources, targets, strict=True)
    ]
    logits = ours.logits(forward(ours, pack(examples), memory_of(examples)))
    return list(logits.split([len(target) for target in targets]))


def padded(rows: Rows, side: Side) -> tuple[torch.Tensor, torch.Tensor, list[slice]]:
    """Ids, mask and where each row stands."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    places = [slice(0, len(r)) if side == "right" else slice(width - len(r), width) for r in rows]
    for line, (row, place) in enumerate(zip(rows, places, strict=True)):
        ids[line, place], mask[line, place] = torch.tensor(row), 1
    return ids, mask, places


def their_logits(theirs: Any, sources: Rows, targets: Rows, side: Side) -> list[torch.Tensor]:
    ids, mask, _ = padded(sources, side)
    read, seen, places = padded(targets, side)
    with torch.inference_mode():
        logits = theirs(
            input_ids=ids, attention_mask=mask, decoder_input_ids=read, decoder_attention_mask=seen
        ).logits
    return [logits[line, place] for line, place in enumerate(places)]


def check_logits(theirs: Any, ours: Any, sides: Sequence[Side] = SIDES) -> None:
    sources, targets = rows_of(SOURCES), rows_of(TARGETS, seed=5)
    with torch.inference_mode():
        got = our_logits(ours, sources, targets)
    for side in sides:
        wanted = their_logits(theirs, sources, targets, side)
        for row, mine, expected in zip(targets, got, wanted, strict=True):
            assert (mine - expected).abs().max() < TOLERANCE, f"{len(row)} tokens, padding {side}"


def check_loss(theirs: Any, ours: EncoderDecoder) -> None:
    """The mean over all rows' labels, by their shift of the labels and by our examples."""
    sources, targets = rows_of(SOURCES, seed=1), rows_of(TARGETS, seed=6)
    examples = [Example.pair(s, t, ours.start) for s, t in zip(sources, targets, strict=True)]
    found = pack(examples)
    labels, weights = map(torch.from_numpy, (found.labels, found.weights))
    ours.requires_grad_(True)
    result = clm.loss(ours, forward(ours, found, memory_of(examples)), labels, weights)
    mean = result.total / result.count
    mean.backward()
    ids, mask, _ = padded(sources, "right")
    wanted, seen, _ = padded(targets, "right")
    total = theirs(
        input_ids=ids, attention_mask=mask, labels=wanted.masked_fill(seen == 0, -100)
    ).loss
    total.backward()
    assert (mean - total).abs().detach() < 1e-5
    same_gradients(theirs, ours)


def check_saved(theirs: Any, ours: Any, folder: Path) -> None:
    """A folder with our weights under their names is opened by theirs, and scores the same."""
    state = hf_state(ours, checkpoint_of(theirs))
    theirs.config.save_pretrained(folder)
    copies = {name: value.detach().clone().contiguous() for name, value in state.items()}
    save_file(copies, folder / "model.safetensors", {"format": "pt"})
    fresh, report = type(theirs).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    sources, targets = rows_of(SOURCES, seed=2), rows_of(TARGETS, seed=7)
    for mine, expected in zip(
        their_logits(fresh, sources, targets, "right"),
        their_logits(theirs, sources, targets, "right"),
        strict=True,
    ):
        assert torch.equal(mine, expected)


def check_decoding(theirs: Any, ours: EncoderDecoder, tokens: int = 12) -> None:
    """Greedy answers, several at once in few slots, equal full passes and their `generate`."""
    sources = rows_of((7, 1, 40, 12, 3, 25, 12), seed=3)
    full = [greedy(ours, source, tokens) for source in sources]
    assert len({tuple(made) for made in full}) > 1, "the source changes the answer"
    ends = frozenset({full[3][5]})
    wanted = [until(made, ends) for made in full]
    assert {end for _, end in wanted} == {"stop", "length"}
    for source, made in zip(sources, wanted, strict=True):
        assert theirs_greedy(theirs, source, tokens, ends) == made
    jobs = [Job(tuple(source), tokens, ends) for source in sources]
    for engine in (Engine(ours), Engine(ours, slots=3), Engine(ours, exact=True)):
        assert answers(engine, jobs) == wanted


def until(made: list[int], ends: frozenset[int]) -> tuple[list[int], str]:
    for place, token in enumerate(made):
        if token in ends:
            return made[:place], "stop"
    return made, "length"


def greedy(ours: EncoderDecoder, source: Sequence[int], tokens: int) -> list[int]:
    """Token after token from full forward passes of one row."""
    ids = [ours.start]
    for _ in range(tokens):
        with torch.inference_mode():
            ids.append(int(our_logits(ours, [source], [ids])[0][-1].argmax()))
    return ids[1:]


def theirs_greedy(
    theirs: Any, source: Sequence[int], tokens: int, ends: frozenset[int]
) -> tuple[list[int], str]:
    ids = torch.tensor([source])
    theirs.generation_config.forced_eos_token_id = None
    made = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens,
        eos_token_id=sorted(ends), decoder_start_token_id=theirs.config.decoder_start_token_id,
        pad_token_id=PAD, use_cache=False,  # theirs takes the encoder's layers for the decoder's
    )[0, 1:].tolist()  # fmt: skip
    return until(made, ends)


def their_count(kind: Any, config: Any, tables: Sequence[str]) -> int:
    """Parameters of a model of theirs, built without memory; each of `tables` is the token table
    once more."""
    with torch.device("meta"):
        theirs = kind(config)
    own = {name: value for name, value in theirs.named_parameters(remove_duplicate=False)}
    return sum(value.numel() for name, value in own.items() if name not in tables)
