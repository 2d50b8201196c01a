"""Log-probabilities of given continuations, read in packs without generating anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutelage.data.pack import Example, batch, common_prefix, memory_of, pack
from tutelage.generate.chooser import Logprobs, logprobs
from tutelage.machine.memory import trim
from tutelage.models.forward import Model, forward

PACK_TOKENS = 2048
SAVED = 64
"""Tokens that must not be read again for a step of its own to be worth it."""
MOST = 64
"""Continuations of one prompt in a step."""
CHUNK = 256
"""Positions whose logits are in memory at once."""


@dataclass(frozen=True)
class TokenScores:
    """For each token of a continuation: its log-probability, and whether it was the likeliest."""

    log_probabilities: tuple[float, ...]
    greedy: tuple[bool, ...]

    def of(self, which: slice) -> TokenScores:
        """Those of some of the tokens."""
        return TokenScores(self.log_probabilities[which], self.greedy[which])


def score(model: Model, examples: Sequence[Example], exact: bool = False) -> list[TokenScores]:
    """Score every example's completion after its prompt, in nats.

    `exact` reads each example alone, so that nothing depends on what shares the pack.
    """
    if not exact:
        examples, places = _merged(examples)
        found = _read(model, examples, _steps(examples))
        return [found[row].of(which) for row, which in places]
    return _read(model, examples, [[i] for i in range(len(examples))])


def _read(
    model: Model, examples: Sequence[Example], steps: Sequence[Sequence[int]]
) -> list[TokenScores]:
    """The scores of every example, read step by step."""
    results: list[TokenScores | None] = [None] * len(examples)
    with torch.inference_mode():
        for rows in steps:
            for row, scores in zip(rows, _score([examples[i] for i in rows], model), strict=True):
                results[row] = scores
            trim()  # the next pack's arrays are of other sizes and would not fit into these
    return [scores for scores in results if scores is not None]


def tell(model: Model, ids: Sequence[int], lead: int, count: int) -> list[Logprobs]:
    """Of every token of a row but its first: its log-probability and those of the `count` likeliest
    tokens in its place. The first `lead` tokens are read both ways."""
    example = Example.answer(ids[:1], ids[1:], lead=lead)
    told: list[Logprobs] = []
    with torch.inference_mode():
        hidden = forward(model, pack([example]))
        for part, labels in zip(
            hidden.split(CHUNK), torch.tensor(example.labels).split(CHUNK), strict=True
        ):
            logits = model.logits(part)
            rows = zip(logits, labels.tolist(), strict=True)
            told += [logprobs(scores, token, count) for scores, token in rows]
    return told


def _steps(examples: Sequence[Example]) -> list[list[int]]:
    """Which examples are read together: those that continue one long prompt, as the choices of a
    question do, apart from all others, so that the prompt is read once; the rest by length."""
    asked: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for index, one in enumerate(examples):
        asked.setdefault((one.ids[: one.at[0] + 1], one.memory), []).append(index)
    apart = [
        members
        for (prompt, memory), members in asked.items()
        if (len(members) - 1) * len(prompt) >= SAVED and not memory
    ]
    taken = {index for members in apart for index in members}
    alike = [one[start : start + MOST] for one in apart for start in range(0, len(one), MOST)]
    for family in _families(examples, sorted(set(range(len(examples))) - taken)):
        own = [examples[index] for index in family]
        order = sorted(range(len(own)), key=lambda n: own[n].inputs)
        alike += [[family[n] for n in step] for step in batch(own, order, PACK_TOKENS)]
    return alike


def _merged(examples: Sequence[Example]) -> tuple[list[Example], list[tuple[int, slice]]]:
    """Continuations of one token behind the same prompt, as letters are, need one reading: they
    become one example with several labels. Where each went: its example, and its labels there."""
    found: list[Example] = []
    places: list[tuple[int, slice]] = []
    known: dict[tuple[int, ...], int] = {}
    for one in examples:
        plain = one.trained == 1 and not (one.memory or one.types or one.lead)
        row = known.setdefault(one.ids, len(found)) if plain else len(found)
        if row == len(found):
            found.append(one)
            places.append((row, slice(0, one.trained)))
            continue
        before = found[row]
        places.append((row, slice(before.trained, before.trained + 1)))
        found[row] = replace(before, at=before.at + one.at, labels=before.labels + one.labels)
    return found, places


def _families(examples: Sequence[Example], rows: Sequence[int]) -> list[list[int]]:
    """Rows that begin alike for long, as questions behind the same solved examples do, in families
    that read what is shared once; the last family are those that are like no other."""
    families: list[list[int]] = []
    shared: tuple[int, ...] = ()
    for row in sorted(rows, key=lambda row: examples[row].ids):
        ids = examples[row].ids
        plain = not (examples[row].memory or examples[row].types or examples[row].lead)
        length = common_prefix([shared, ids]) if families and plain else 0
        if length >= max(SAVED, len(shared) // 2):
            families[-1].append(row)
            shared = shared[:length]
        else:
            families.append([row])
            shared = ids if plain else ()
    alone = [row for family in families if len(family) == 1 for row in family]
    return [family for family in families if len(family) > 1] + ([alone] if alone else [])


def _score(examples: list[Example], model: Model) -> list[TokenScores]:
    plan = pack(examples)
    memory = memory_of(examples) if any(one.memory for one in examples) else None
    labels = torch.from_numpy(plan.labels).to(model.device)
    hidden = forward(model, plan, memory)
    values: list[float] = []
    likeliest: list[bool] = []
    for part, wanted in zip(hidden.split(CHUNK), labels.split(CHUNK), strict=True):
        log_probabilities, greedy = _judged(model.logits(part), wanted)
        values += log_probabilities
        likeliest += greedy
    scores: list[TokenScores] = []
    start = 0
    for example in examples:
        end = start + example.trained
        scores.append(TokenScores(tuple(values[start:end]), tuple(likeliest[start:end])))
        start = end
    return scores


def _judged(
    logits: Float[Tensor, "N V"], wanted: Int[Tensor, "N"]
) -> tuple[list[float], list[bool]]:
    """Log-probability of each wanted token, and whether it is the likeliest. In a function of its
    own, so that these logits are gone before the next are made."""
    chosen = logits.gather(1, wanted[:, None])[:, 0]
    log_probabilities = (chosen - torch.logsumexp(logits, dim=-1)).tolist()
    return log_probabilities, (logits.argmax(-1) == wanted).tolist()
