"""What every architecture that transformers has must show against it, in float32 on random weights.

theirs, ours = twins(GPT2LMHeadModel, GPT2Config, n_layer=3, ...)
check_logits(theirs, ours)          packed rows against rows padded on either side
check_gradients(theirs, ours)
check_saved(theirs, ours)           our weights, put back into a fresh model of theirs
check_decoding(ours)                answers with a cache against full forward passes
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from typing import Any, Literal

import torch
import transformers

from tests.parity.witness import VOCABULARY, checkpoint_of
from tutelage.checkpoints.build import build, hf_state
from tutelage.data.pack import Example, pack
from tutelage.generate.engine import Engine
from tutelage.generate.job import Job
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.forward import Model, forward

TOLERANCE = 1e-4
LENGTHS = (5, 19, 11, 1)
PAD = 0
Side = Literal["left", "right"]


def twins(kind: Any, config: Any, seed: int = 0, **settings: Any) -> tuple[Any, Model]:
    """A random model of transformers, its norms and biases away from 1 and 0, and ours with its
    weights."""
    torch.manual_seed(seed)
    made = config(**{"vocab_size": VOCABULARY, **settings}, architectures=[kind.__name__])
    theirs = kind(made).float().eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return theirs, build(checkpoint_of(theirs))


def rows_of(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> list[list[int]]:
    """Random rows; no token is the padding's."""
    drawn = random.Random(seed)
    return [[drawn.randrange(PAD + 1, VOCABULARY) for _ in range(n)] for n in lengths]


def whole(rows: Sequence[Sequence[int]], **more: Any) -> list[Example]:
    """Examples of which every token's vector is wanted, and learns the token itself."""
    return [Example(tuple(row), tuple(range(len(row))), tuple(row), **more) for row in rows]


def our_logits(ours: Model, examples: Sequence[Example]) -> list[torch.Tensor]:
    """Each row's scores, all rows read as one pack."""
    found = pack(examples, share=False)
    with torch.inference_mode():
        logits = ours.logits(forward(ours, found))
    return list(logits.split([example.trained for example in examples]))


def their_logits(theirs: Any, rows: Sequence[Sequence[int]], side: Side) -> list[torch.Tensor]:
    """Each row's scores, all rows read as one padded batch."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    places = [slice(0, len(r)) if side == "right" else slice(width - len(r), width) for r in rows]
    for line, (row, place) in enumerate(zip(rows, places, strict=True)):
        ids[line, place], mask[line, place] = torch.tensor(row), 1
    asked: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
    if "position_ids" in inspect.signature(theirs.forward).parameters and side == "left":
        asked["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = theirs(**asked).logits
    return [logits[line, place] for line, place in enumerate(places)]


def check_logits(theirs: Any, ours: Model, sides: Sequence[Side] = ("left", "right")) -> None:
    rows = rows_of()
    got = our_logits(ours, whole(rows))
    for side in sides:
        for row, mine, expected in zip(rows, got, their_logits(theirs, rows, side), strict=True):
            assert (mine - expected).abs().max() < TOLERANCE, f"{len(row)} tokens, padding {side}"


def check_gradients(theirs: Any, ours: Model) -> None:
    """Every weight's gradient of one loss over all rows."""
    rows = rows_of(seed=1)
    ours.requires_grad_(True)
    found = pack(whole(rows), share=False)
    wanted = torch.roll(torch.from_numpy(found.labels), 1)
    logits = ours.logits(forward(ours, found))
    torch.nn.functional.cross_entropy(logits, wanted).backward()
    total = torch.cat([theirs(torch.tensor([row])).logits[0] for row in rows])
    torch.nn.functional.cross_entropy(total, wanted).backward()
    same_gradients(theirs, ours)


def same_gradients(theirs: Any, ours: Model) -> None:
    own, their = (dict(m.named_parameters(remove_duplicate=False)) for m in (ours, theirs))
    spec = spec_for(theirs.config.to_dict())
    for weight in (w for w in layout(theirs.config.to_dict()) if w.trained):
        name = next(name for name in spec.names(weight) if name in their)
        mine, expected = own[weight.path].grad, their[name].grad
        assert mine is not None and expected is not None, weight.path
        mine = mine.t() if weight.transposed else mine
        assert (mine - expected).abs().max() < TOLERANCE, weight.path


def check_saved(theirs: Any, ours: Model) -> None:
    """Our weights under their names fill a fresh model of theirs, which then scores the same."""
    state = hf_state(ours, checkpoint_of(theirs))
    fresh = type(theirs)(theirs.config).float().eval()
    left_out = fresh.load_state_dict(state, strict=False)
    assert not left_out.unexpected_keys
    fresh.tie_weights()
    rows = rows_of(seed=2)
    for mine, expected in zip(
        their_logits(fresh, rows, "right"), their_logits(theirs, rows, "right"), strict=True
    ):
        assert torch.equal(mine, expected)


def check_decoding(ours: Model, tokens: int = 12) -> None:
    """Greedy answers of several prompts at once, with and without a beginning that all share."""
    for shared in (0, 9):
        start = rows_of([shared], seed=3)[0]
        prompts = [(*start, *row) for row in rows_of((3, 14, 6), seed=4)]
        made: list[list[int]] = [[] for _ in prompts]
        for event in Engine(ours).run([Job(p, tokens, frozenset()) for p in prompts]):
            if event.token is not None:
                made[event.index].append(event.token)
        for prompt, answer in zip(prompts, made, strict=True):
            assert answer == greedy(ours, prompt, tokens)


def greedy(ours: Model, prompt: Sequence[int], tokens: int) -> list[int]:
    """Token after token from full forward passes of one row."""
    ids = list(prompt)
    for _ in range(tokens):
        with torch.inference_mode():
            logits = ours.logits(forward(ours, pack([Example.read(ids)])))
        ids.append(int(logits[-1].argmax()))
    return ids[len(prompt) :]


def fresh_model(name: str) -> Any:
    """A class of transformers by its name."""
    return getattr(transformers, name)
