"""`tutelage search MODEL --data F --method NAME --out DIR`: the best settings of a tuning."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared, progress
from tutelage.cli.tune import LISTS, Options
from tutelage.errors import ConfigError

Json = dict[str, Any]


def search(
    model: str,
    *,
    data: str,
    method: str = "lora",
    out: Path,
    options: Options | None = None,
    choose: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = (),
    trials: int = 12,
    rungs: int = 4,
    steps: int | None = None,
    epochs: float | None = None,
    batch_tokens: int | None = None,
    head: str | None = None,
    head_rate: float | None = None,
    minutes: float | None = None,
    prompt: str | None = None,
    completion: str | None = None,
    shared: Shared | None = None,
) -> Json:
    """Find the learning rate, and other settings, that tune best. Killed, it goes on.

    Parameters
    ----------
    model
        A model source: folder, FILE.gguf, pypi:, hf:, preset:.
    data
        Rows with a prompt and an answer; some are kept to score on.
    method
        The way of tuning.
    out
        The folder of the search. The same call later goes on where it stopped.
    choose
        NAME=V,V,...: a setting of the method with values to choose from, as rank=4,16,64. Of one
        that is given several times each value is a list, as role=attn.q+attn.v,attn.q or layer=0+1.
    trials
        Runs in all; a third more whenever the best learning rate is at the end of its range.
    rungs
        How often a run is scored; one that is among the worse half then ends.
    steps
        Updates of a whole run.
    epochs
        Passes over the rows instead; 1 if neither is given.
    batch_tokens
        Tokens of one update: 1,024 if not given, 256 for tags of words.
    head
        Put a task's head on the model, as `tune` does.
    head_rate
        The highest learning rate of the head alone, which is not searched for.
    minutes
        End after so long; no run is begun later.
    prompt
        Template over a row's fields, as "Summarize: {text}".
    completion
        Template of the answer.
    """
    from tutelage.config import validate
    from tutelage.data.load import load
    from tutelage.train.config import TuneConfig
    from tutelage.train.search import Asked
    from tutelage.train.search import search as found

    shared = shared or Shared()
    _check(trials, rungs, minutes)
    given = {
        "method": method, "options": (options or Options()).given(), "steps": steps,
        "epochs": epochs, "batch_tokens": batch_tokens, "head": head, "head_rate": head_rate,
        "seed": shared.seed,
    }  # fmt: skip
    config = validate(TuneConfig, {k: v for k, v in given.items() if v is not None}, where="search")
    loaded = load(data, prompt=prompt, completion=completion)
    asked = Asked(trials, rungs, choices=_choices(choose))
    ends = None if minutes is None else time.monotonic() + 60 * minutes
    return found(
        model, loaded.rows, config, asked, out, progress=progress(shared),
        deadline=lambda: ends is not None and time.monotonic() > ends, **shared.where(),
    )  # fmt: skip


def show(result: Json) -> None:
    """Print every trial, and how to tune with the best."""
    for trial in result["trials"]:
        loss = "-" if trial["loss"] is None else f"{trial['loss']:.4f}"
        print(f"{loss}  {_settings(trial['settings'])}  {trial['steps']} steps, {trial['status']}")
    best = result["best"]
    if best is None:
        print("no trial has found a loss yet")
        return
    rate = best["settings"]["learning_rate"]
    others = {k: v for k, v in best["settings"].items() if k != "learning_rate"}
    print(f"best: --method {result['method']} --learning-rate {rate:.3g}{_flags(others)}")
    if result["at_edge"]:
        print("its learning rate is at the edge of what was tried: more trials may find a better")


def _settings(settings: Json) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in settings.items())


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _flags(settings: Json) -> str:
    """Of `tune`, each behind a space."""
    from tutelage.peft._method import flag

    found = ""
    for name, value in settings.items():
        if isinstance(value, bool):
            found += f" {flag(name)}" if value else ""
        else:
            each = value if isinstance(value, list) else [value]
            found += "".join(f" {flag(name)} {one}" for one in each)
    return found


def _check(trials: int, rungs: int, minutes: float | None) -> None:
    for flag, value in (("--trials", trials), ("--rungs", rungs)):
        if value < 1:
            raise ConfigError(f"{flag} must be at least 1", field=flag, got=value, expected=">= 1")
    if minutes is not None and minutes <= 0:
        raise ConfigError("--minutes must be above 0", field="--minutes", got=minutes)


def _choices(choose: tuple[str, ...]) -> dict[str, list[Any]]:
    """The values of every setting by its name. Raises ConfigError."""
    found: dict[str, list[Any]] = {}
    for name, values in map(_choice, choose):
        if name in found:
            raise ConfigError(
                f"the values of {name} are named twice", field="--choose", got=", ".join(choose),
                expected="each setting once, as rank=4,16,64",
            )  # fmt: skip
        found[name] = values
    return found


def _choice(text: str) -> tuple[str, list[Any]]:
    """One setting and its values. Of a flag that is given several times, each is a list."""
    given, equals, values = text.partition("=")
    several = given in LISTS
    each = values.split(",")
    if not (given and equals and all(each)) or (several and "" in re.split("[,+]", values)):
        raise ConfigError(
            f"cannot read --choose {text!r}", field="--choose", got=text,
            expected=f"{given}=V+V,V,..." if several else "NAME=V,V,...",
        )  # fmt: skip
    if twice := next((one for one in each if each.count(one) > 1), None):
        raise ConfigError(
            f"{given} may be {twice} twice", field="--choose", got=text, expected="each value once"
        )
    if several:
        return LISTS[given], [[_value(part) for part in one.split("+")] for one in each]
    return given.replace("-", "_"), [_value(one) for one in each]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
