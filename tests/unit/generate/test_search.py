"""Beam search against transformers and against loops over lists; contrastive search against full
passes; beams steered by functions of the text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.parity.architecture import rows_of
from tests.parity.test_generation import prompts_of
from tests.parity.witness import checkpoint_of, pair
from tutelage.backends.local import LocalLM
from tutelage.checkpoints.build import build
from tutelage.decoding import Beam, Contrastive, Feature
from tutelage.errors import ConfigError, WorkError
from tutelage.generate.beam import Found, beam_search
from tutelage.generate.contrastive import contrastive_search
from tutelage.generate.job import Job
from tutelage.lm import Completion, Piece, Request, Sampling, complete

pytestmark = pytest.mark.usefixtures("decoding")
ENDS = frozenset(range(0, 97, 4))


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    return pair(5, initializer_range=0.3)


@pytest.fixture(scope="module")
def pairs() -> tuple[Any, Any]:
    torch.manual_seed(4)
    theirs = T5ForConditionalGeneration(
        T5Config(
            vocab_size=97, d_model=32, d_kv=8, d_ff=56, num_layers=2, num_heads=4,
            decoder_start_token_id=0, architectures=["T5ForConditionalGeneration"],
        )
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        parameter.data += 0.15 * torch.randn_like(parameter)
    return theirs, build(checkpoint_of(theirs))


def ours(model: Any, job: Job, beam: Beam) -> list[Found]:
    def text(tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))

    return after_all(beam_search(model, job, beam, text, lambda: False))


def after_all(steps: Generator[None, None, list[Found]]) -> list[Found]:
    """What a search returns after its last step."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def their_beams(
    theirs: Any, job: Job, beam: Beam, skipped: int
) -> list[tuple[tuple[int, ...], float]]:
    """Tokens and scores as `generate` gives them, without prompt, end token and padding."""
    ids = torch.tensor([job.prompt])
    out = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=beam.width,
        num_return_sequences=beam.returned, max_new_tokens=job.max_new_tokens,
        length_penalty=beam.length_penalty, early_stopping=beam.early_stopping,
        eos_token_id=sorted(job.ends), pad_token_id=96, output_scores=True,
        return_dict_in_generate=True, min_new_tokens=job.min_new_tokens or None,
    )  # fmt: skip
    found = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist(), strict=True):
        said = row[skipped:]
        ends = [place for place, token in enumerate(said) if token in job.ends]
        found.append((tuple(said[: ends[0]] if ends else said), score))
    return found


def same(mine: list[Found], wanted: list[tuple[tuple[int, ...], float]]) -> None:
    assert [one.tokens for one in mine] == [tokens for tokens, _ in wanted]
    # Theirs adds up in float32, and a negative length penalty multiplies the sum's last bit.
    scores = [score for _, score in wanted]
    assert [one.score for one in mine] == pytest.approx(scores, abs=1e-4, rel=1e-6)


SETTINGS = [
    Beam(2),
    Beam(4, returned=4),
    Beam(5, length_penalty=0.0, returned=5),
    Beam(4, length_penalty=2.5, returned=3),
    Beam(4, length_penalty=-1.0, returned=4),
    Beam(3, returned=3, early_stopping=True),
]


@pytest.mark.parametrize("beam", SETTINGS)
def test_beams_equal_transformers(both: tuple[Any, Any], beam: Beam) -> None:
    theirs, model = both
    finishes = Counter[str]()
    for prompt in prompts_of([1, 9, 14]):
        for least in (0, 4):
            job = Job(prompt, 12, ENDS, min_new_tokens=least)
            mine = ours(model, job, beam)
            same(mine, their_beams(theirs, job, beam, len(prompt)))
            finishes.update(one.finish for one in mine)
    assert finishes["stop"]


@pytest.mark.parametrize("beam", SETTINGS[1:4])
def test_beams_of_an_encoder_decoder(pairs: tuple[Any, Any], beam: Beam) -> None:
    theirs, model = pairs
    for source in rows_of((7, 1, 20), seed=3):
        job = Job(tuple(source), 9, ENDS)
        same(ours(model, job, beam), their_beams(theirs, job, beam, 1))


def naive(theirs: Any, job: Job, beam: Beam, features: tuple[Feature, ...] = ()) -> list[Any]:
    """Groups, diversity and steering with lists and full passes; ends when nothing runs."""
    each = beam.width // beam.groups
    running: list[list[tuple[list[int], float]]] = [[([], 0.0)] for _ in range(beam.groups)]
    done: list[list[Any]] = [[] for _ in range(beam.groups)]
    for _ in range(job.max_new_tokens):
        taken = Counter[int]()
        for group in range(beam.groups):
            options = []
            for tokens, score in running[group]:
                with torch.inference_mode():
                    logits = theirs(torch.tensor([[*job.prompt, *tokens]])).logits[0, -1]
                known = torch.log_softmax(logits, -1).tolist()
                scored = [
                    (known[token] - beam.diversity * taken[token] + score, token)
                    for token in range(len(known))
                ]
                for value, token in sorted(scored, reverse=True)[: 2 * each if features else None]:
                    new = [*tokens, token]
                    said = " ".join(str(t) for t in new if t not in job.ends)
                    options.append((value + sum(a * f(said) for a, f in features), new))
            options.sort(key=lambda one: -one[0])
            kept = options[: max(2, 1 + len(job.ends)) * each]
            over = [n[-1] in job.ends or len(n) == job.max_new_tokens for _, n in kept]
            for (value, new), end in list(zip(kept, over, strict=True))[:each]:
                if end:
                    said = tuple(t for t in new if t not in job.ends)
                    done[group].append((said, value / len(new) ** beam.length_penalty))
            going = [one for one, end in zip(kept, over, strict=True) if not end]
            running[group] = [(new, value) for value, new in going[:each]]
            taken.update(new[-1] for new, _ in running[group])
    best = [sorted(one, key=lambda x: -x[1])[:each] for one in done]
    return sorted((one for group in best for one in group), key=lambda x: -x[1])[: beam.returned]


@pytest.mark.parametrize("diversity", [0.0, 0.7, 50.0])
def test_diverse_groups(both: tuple[Any, Any], diversity: float) -> None:
    """Scores that only fall with length let the search end before the loops do, at no loss."""
    theirs, model = both
    beam = Beam(4, length_penalty=0.0, groups=2, diversity=diversity, returned=4)
    for prompt in prompts_of([1, 9]):
        job = Job(prompt, 6, ENDS)
        same(ours(model, job, beam), naive(theirs, job, beam))
    if diversity == 50:
        firsts = [one.tokens[:1] for one in ours(model, Job(prompt, 6, frozenset()), beam)]
        assert len(set(firsts)) > 1


def test_steering_adds_what_the_functions_say(both: tuple[Any, Any]) -> None:
    theirs, model = both
    features: tuple[Feature, ...] = (
        (0.8, lambda text: -float(len(text.split()))),
        (1.5, lambda text: float(text.count("5"))),
    )
    for alpha in (0.0, 1.0):
        given = tuple((alpha * a, f) for a, f in features)
        beam = Beam(3, length_penalty=0.0, returned=3, features=given)
        for prompt in prompts_of([4, 9]):
            job = Job(prompt, 5, frozenset({3}))
            steered = ours(model, job, beam)
            same(steered, naive(theirs, job, Beam(3, 0.0, returned=3), given))
            if alpha == 0:
                assert steered == ours(model, job, Beam(3, 0.0, returned=3))


def test_a_stopped_search_gives_what_there_is(both: tuple[Any, Any]) -> None:
    (prompt,) = prompts_of([4])
    asked = iter([False] * 3 + [True] * 9)
    job = Job(prompt, 9, frozenset())
    found = after_all(beam_search(both[1], job, Beam(2), str, lambda: next(asked)))
    assert len(found[0].tokens) == 3 and found[0].finish == "cancelled"


def their_contrastive(
    vectors: Any, prompt: list[int], tokens: int, alpha: float, k: int
) -> list[int]:
    """Token after token from full passes: `vectors(ids)` gives last vectors and logits of a row."""
    made: list[int] = []
    for _ in range(tokens):
        with torch.inference_mode():
            hidden, logits = vectors([*prompt, *made])
            probabilities, ids = torch.softmax(logits[-1], -1).topk(k)
            worth = []
            for p, token in zip(probabilities.tolist(), ids.tolist(), strict=True):
                after, _ = vectors([*prompt, *made, token])
                likeness = torch.cosine_similarity(after[-1:], hidden).max()
                worth.append((1 - alpha) * p - alpha * float(likeness))
        made.append(ids.tolist()[max(range(k), key=lambda i: worth[i])])
    return made


@pytest.mark.parametrize(("alpha", "k"), [(0.6, 4), (0.3, 7), (0.9, 2)])
def test_contrastive_search(both: tuple[Any, Any], alpha: float, k: int) -> None:
    theirs, model = both

    def vectors(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        out = theirs(torch.tensor([ids]), output_hidden_states=True)
        return out.hidden_states[-1][0], out.logits[0]

    for prompt in prompts_of([1, 12]):
        job = Job(prompt, 8, frozenset())
        found = list(contrastive_search(model, job, Contrastive(alpha, k), lambda: False))
        assert [one.token for one in found] == their_contrastive(vectors, [*prompt], 8, alpha, k)
        assert [one.finish for one in found] == [None] * 7 + ["length"]


def test_contrastive_search_of_an_encoder_decoder(pairs: tuple[Any, Any]) -> None:
    theirs, model = pairs
    (source,) = rows_of((9,), seed=3)

    def vectors(ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        out = theirs(
            torch.tensor([source]), decoder_input_ids=torch.tensor([ids]),
            output_hidden_states=True,
        )  # fmt: skip
        return out.decoder_hidden_states[-1][0], out.logits[0]

    job = Job(tuple(source), 6, frozenset())
    found = [t.token for t in contrastive_search(model, job, Contrastive(), lambda: False)]
    assert found == their_contrastive(vectors, [model.start], 6, 0.6, 4)


def test_searches_behind_the_seam() -> None:
    """Beside ordinary requests; the answers of a beam are told best first."""
    lm = LocalLM.open("preset:llama-tiny", device="cpu", dtype="fp32", threads=1)
    asked = [
        Request("ab", 6, search=Beam(3, returned=3)),
        Request("ab", 6),
        Request("ab", 6, search=Contrastive()),
        Request("ab", 6, search=Beam(1)),
    ]
    pieces = [""] * 4
    done: dict[int, Completion] = {}
    for event in lm.generate(asked):
        if isinstance(event, Piece):
            pieces[event.index] += event.text
        else:
            done[event.index] = event
    assert [done[n].text for n in range(4)] == pieces
    first = done[0]
    scores = [one.score for one in (first, *first.others)]
    assert len(scores) == 3 and scores == sorted(scores, key=lambda s: -(s or -math.inf))
    assert done[3].text == done[1].text, "one beam is greedy"
    assert complete(lm, asked[2:3])[0].text == done[2].text
    steered = Beam(3, features=((9.0, lambda text: float(len(set(text)))),))
    assert len(set(complete(lm, [Request("ab", 6, search=steered)])[0].text)) > len(set(first.text))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Beam(0), "beam_width"),
        (lambda: Beam(65), "beam_width"),
        (lambda: Beam(4, groups=3), "beam_groups"),
        (lambda: Beam(4, diversity=-1), "diversity_penalty"),
        (lambda: Beam(4, diversity=1), "diversity_penalty"),
        (lambda: Beam(4, length_penalty=math.nan), "length_penalty"),
        (lambda: Beam(4, returned=5), "n"),
        (lambda: Contrastive(1.0), "penalty_alpha"),
        (lambda: Contrastive(top_k=0), "top_k"),
        (lambda: Request("x", search=Beam(), sampling=Sampling(1.0)), "beam_width"),
        (lambda: Request("x", search=Contrastive(), logprobs=1), "penalty_alpha"),
    ],
)
def test_a_search_that_cannot_be_is_named(make: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.field == field


def test_searches_say_scores_that_are_not_numbers() -> None:
    broken = pair(5)[1]
    with torch.no_grad():
        broken.norm.weight[0] = torch.nan
    job = Job(prompts_of([9])[0], 5, frozenset())
    with pytest.raises(WorkError, match="not a number"):
        list(beam_search(broken, job, Beam(3), lambda tokens: "", lambda: False))
    with pytest.raises(WorkError, match="not a number"):
        list(contrastive_search(broken, job, Contrastive(0.6), lambda: False))
