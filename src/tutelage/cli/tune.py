"""`tutelage tune MODEL --data F --method NAME --out DIR`: tune once, or say what it would take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from tutelage.cli.shared import Shared, progress, stop_progress
from tutelage.cli.tune_data import Mixture
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.data.rows import Loaded
    from tutelage.train.config import TuneConfig

SHOWN = 20
"""Rows set aside that are named on stderr; the answer holds them all."""
Json = dict[str, Any]
METHOD = Group("Options of the method", sort_key=50)
LISTS = {"role": "roles", "layer": "layers"}
"""Options that are given several times, and the settings that have them all."""


@Parameter(name="*", group=METHOD)
@dataclass(frozen=True)
class Options:
    """What a method may be told; one that does not know an option refuses it."""

    role: Annotated[tuple[str, ...], Parameter(consume_multiple=False, show_default=False)] = ()
    """Kinds of weights it works at, as attn.q; may be given several times."""
    layer: Annotated[tuple[int, ...], Parameter(consume_multiple=False, show_default=False)] = ()
    """Layers it works at, from 0; may be given several times. All by default."""
    rank: int | None = None
    """Rank of updates, or width of adapters."""
    alpha: float | None = None
    """Scale of updates, divided by the rank."""
    rslora: bool = False
    """Divide alpha by the root of the rank instead."""
    dropout: float | None = None
    """Share of the updates' inputs left out in training."""
    last: int | None = None
    """How many of the last layers are trained."""
    scale: float | None = None
    """What parallel adapters' outputs are multiplied with."""
    tokens: int | None = None
    """How many virtual tokens stand before every row."""
    start: Literal["vocabulary", "random"] | None = None
    """What virtual tokens begin as: random words, or random numbers."""
    text: str | None = None
    """What virtual tokens begin as, instead."""
    hidden: int | None = None
    """Width of the network that makes virtual tokens while they are learned."""
    layer_decay: float | None = None
    """The learning rate of a layer over that of the one above it."""
    unfreeze: float | None = None
    """Over which share of the steps layers join, from the last down."""
    bits: Literal[4, 8] | None = None
    """Of a weight of the frozen base."""
    group: int | None = None
    """How many of these numbers in a row share a scale."""

    def given(self) -> Json:
        """What was given, by the names that methods know it by."""
        found = {LISTS.get(name, name): value for name, value in vars(self).items()}
        return {
            name: value
            for name, value in found.items()
            if not (value is None or value is False or value == ())
        }


def tune(
    model: str,
    *,
    data: Annotated[tuple[str, ...], Parameter(consume_multiple=False)],
    method: str = "lora",
    out: Path | None = None,
    options: Options | None = None,
    mixture: Mixture | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_tokens: int | None = None,
    micro_batches: int | None = None,
    checkpointing: bool = False,
    pull: float | None = None,
    interpolate: float | None = None,
    head: str | None = None,
    head_rate: float | None = None,
    new_token: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    prompt: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    completion: str | None = None,
    strict: bool = False,
    skip_forgetting: bool = False,
    dry_run: bool = False,
    shared: Shared | None = None,
) -> Json:
    """Tune a model on rows and write an adapter or a model folder. Killed, it goes on.

    Parameters
    ----------
    model
        A model source: folder, FILE.gguf, pypi:, hf:, preset:.
    data
        Rows with a prompt and an answer: .jsonl .csv .parquet, a folder of them, hf: or builtin:.
        Several times for several tasks, which are mixed in proportion to their rows.
    method
        The way of tuning: full for all weights, or one that leaves most of them as they are.
    out
        The folder to write. An unfinished run of the same request goes on, a finished one is
        returned as it is; a folder with anything else in it is refused.
    steps
        Updates, instead of epochs.
    epochs
        Passes over the rows; 1 if neither is given.
    learning_rate
        The highest of the schedule.
    batch_tokens
        Tokens of one update: 1,024 if not given, 256 for tags of words.
    micro_batches
        Cut each update into this many parts: less memory, the same mathematics.
    checkpointing
        Keep less and compute it twice: less memory, more time.
    pull
        Strength with which weights are pulled to what they were, against forgetting (L2-SP).
    interpolate
        Share of the way from the start to the end at which the weights are left (WiSE-FT).
    head
        Put a task's head on the model and train it with the method: classification, regression,
        token-classification, multiple-choice or question-answering. A model that has one already
        is trained with it.
    head_rate
        The highest learning rate of the head alone; of a new one 1.5e-3, or --learning-rate if
        that is higher.
    new_token
        A word that becomes a token of its own, with a row that is learned; several times for more.
        The adapter records them, and brings them along wherever it is opened.
    prompt
        Template over a row's fields, as "Summarize: {text}". Of several each row gets one.
    completion
        Template of the answer.
    strict
        Stop at the first row that cannot be used instead of setting it aside.
    skip_forgetting
        Do not measure how much the model lost elsewhere.
    dry_run
        Say what it would take, try the heaviest update, an evaluation and a save, show three rows
        as they will be learned, and keep nothing.
    """
    shared = shared or Shared()
    from tutelage.cli.tune_data import loaded_for

    mixture = mixture or Mixture()
    _check_length(steps, epochs)
    config = _config(
        method=method,
        options=(options or Options()).given(),
        steps=steps,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_tokens=batch_tokens,
        micro_batches=micro_batches,
        checkpointing=checkpointing,
        pull=pull,
        interpolate=interpolate,
        new_tokens=new_token,
        head=head,
        head_rate=head_rate,
        seed=shared.seed,
    )
    if out is None and not dry_run:
        raise ConfigError("--out is missing", field="--out", expected="a folder to write")
    loaded, taken = loaded_for(
        data, mixture, config.seed, prompt=prompt, completion=completion, strict=strict
    )
    if out is None or dry_run:
        return {**_plan(model, loaded, config, out, shared, strict), "mixture": taken}
    result = _tuned(model, loaded, config, out, shared, strict) | {"mixture": taken}
    if not skip_forgetting:
        from tutelage.cli.tune_forgetting import lost

        result |= lost(model, out, method, mixture, shared, result["settings"])
    return result


def show(result: Json) -> None:
    """Print what was done, or would be, and what to do next."""
    predicted = result["predicted_peak_bytes"] / 1e9
    print(f"{result['method']}: {result['trained_parameters']:,} trained parameters")
    print(f"{result['rows']['used']} rows, {result['trained_tokens']:,} trained tokens")
    if result["rows"]["set_aside"]:
        print(f"{result['rows']['set_aside']} rows set aside")
    for one in result["mixture"] if len(result["mixture"]) > 1 else ():
        print(f"  {one['taken']} of {one['rows']} rows of {one['task']}")
    if result["rehearsal"] is not None:
        from tutelage.cli.tune_dry import show_planned

        show_planned(result)
        return
    loss = result["loss"]
    if loss is not None:
        print(f"loss {loss['first']:.3f} -> {loss['last']:.3f} {result['loss_unit']}")
    print(
        f"{result['seconds']:.1f} s, {result['peak_bytes'] / 1e9:.2f} GB of {predicted:.2f} planned"
    )
    if result["forgetting"]:
        lost = result["forgetting"]
        print(
            f"forgetting {lost['value']:+.3f} ({lost['low']:+.3f} to {lost['high']:+.3f}) "
            "nats per token on other text"
        )
    for task, kept in (result["general"] or {}).items():
        before, after = kept["before"]["value"], kept["after"]["value"]
        print(f"  {task}: {before:.2f} -> {after:.2f} of {kept['after']['n']} right")
    if result["collapse"] is not None:
        print(f"WARNING: {result['collapse']['warning']}")
    print(f"written to {result['out']}")


def _check_length(steps: int | None, epochs: float | None) -> None:
    if steps is not None and epochs is not None:
        raise ConfigError(
            "--steps and --epochs contradict each other",
            field="--steps, --epochs",
            got=f"--steps {steps} --epochs {epochs:g}",
            expected="one of them",
        )


def _config(**asked: Any) -> TuneConfig:
    """The flags that were given; all else is the method's default."""
    from tutelage.config import validate
    from tutelage.train.config import TuneConfig

    given = {key: value for key, value in asked.items() if value is not None}
    return validate(TuneConfig, given, where="tune")


def _tuned(
    model: str, loaded: Loaded, config: TuneConfig, out: Path, shared: Shared, strict: bool
) -> Json:
    from tutelage.train.tune import tune as run

    done = run(
        model, loaded.rows, config, out, progress=progress(shared), note=_note, strict=strict,
        **shared.where(),
    )  # fmt: skip
    return _answer(out, loaded, done["rows"]["used"], done["set_aside"], done)


def _plan(
    model: str, loaded: Loaded, config: TuneConfig, out: Path | None, shared: Shared, strict: bool
) -> Json:
    from tutelage.cli.tune_dry import planned
    from tutelage.train.prepare import prepare

    run = prepare(model, loaded.rows, config, strict=strict, **shared.where())
    return _answer(out, loaded, run.rows_used(len(run.steps)), run.set_aside, planned(run, out))


def _answer(
    out: Path | None, loaded: Loaded, used: int, untrained: Sequence[dict[str, str]], found: Json
) -> Json:
    """The contract's object of what was done, or of what would be, where null is not yet known.

    A row that is neither used nor set aside is one that the steps did not come to.
    """
    aside = _set_aside(loaded, untrained)
    if unseen := loaded.total - used - len(aside):
        _note(f"{unseen} rows are not seen in these steps; the others are counted as used")
    return {
        "out": None if out is None else str(out),
        "method": found["method"],
        "trained_parameters": found["trained_parameters"],
        "trained_tokens": found["trained_tokens"],
        "rows": {"used": used, "set_aside": len(aside)},
        "set_aside": aside,
        "loss": found.get("loss"),
        "loss_unit": found["loss_unit"],
        "seconds": found.get("seconds"),
        "peak_bytes": found.get("peak_bytes"),
        "predicted_seconds": found["predicted_seconds"],
        "probed_seconds": found.get("probed_seconds"),
        "predicted_flops": found["predicted_flops"],
        "counted_flops": found.get("counted_flops"),
        "predicted_peak_bytes": found["predicted_peak_bytes"],
        "predicted_memory": found["predicted_memory"],
        "forgetting": None,
        "general": None,
        "collapse": found.get("collapse"),
        "settings": found["settings"],
        "correction": found.get("correction"),
        "rehearsal": found.get("rehearsal"),
        "preview": found.get("preview"),
    }


def _set_aside(loaded: Loaded, untrained: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Every row set aside, by loading and then for training; the first are named on stderr."""
    aside = [
        {"where": one.where, "reason": one.reason, "detail": one.detail} for one in loaded.set_aside
    ]
    aside += [dict(one) for one in untrained]
    for one in aside[:SHOWN]:
        _note(f"{one['where']}: set aside ({one['reason']}): {one['detail']}")
    if len(aside) > SHOWN:
        _note(f"and {len(aside) - SHOWN} more rows set aside")
    return aside


def _note(text: str) -> None:
    stop_progress()
    print(text, file=sys.stderr)
