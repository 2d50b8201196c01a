"""`tutelage tune --dry-run`: what a run will take, its hardest moments tried, three rows as they
will be learned."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from tutelage.train.predict import Prediction
    from tutelage.train.prepare import Run

Json = dict[str, Any]
SHOWN_PROMPT = 400
"""Characters of a prompt that are shown to people, from its end; the JSON holds all of it."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
LEARNED = ("green", "cyan")
"""Tokens in turn, so that their borders are seen."""


def planned(run: Run, out: Path | None) -> Json:
    """What is known of a run before its first step. Raises what `rehearse` raises."""
    from tutelage.train.prepare import predict
    from tutelage.train.preview import previews
    from tutelage.train.rehearsal import rehearse

    prediction = predict(run)
    tried = rehearse(run, None if out is None else out.parent)
    shown = previews(run.examples, run.checkpoint.tokenizer, run.virtual, run.task)
    return {
        "method": run.method.name,
        "trained_parameters": run.trained_parameters,
        "trained_tokens": sum(row.trained for step in run.steps for row in step),
        "loss_unit": run.loss_unit,
        "predicted_seconds": prediction.seconds,
        "predicted_flops": prediction.flops,
        "predicted_peak_bytes": prediction.peak_bytes,
        "predicted_memory": prediction.memory,
        "correction": _corrected(prediction),
        "peak_bytes": tried.peak_bytes,
        "settings": run.config.model_dump(mode="json"),
        "rehearsal": {name: value for name, value in asdict(tried).items() if name != "peak_bytes"},
        "preview": [asdict(one) for one in shown],
    }


def _corrected(prediction: Prediction) -> Json:
    """What earlier runs on this machine make of the prediction; of too few, `runs` is 0."""
    from tutelage.plan.learned import RUNTIME
    from tutelage.train.history import correction

    found = correction()
    if found is None:
        return {"runs": 0, "peak_bytes": None, "seconds": None}
    memory = dict(prediction.memory)
    before = memory.pop(RUNTIME, 0)
    return {
        **found.as_json(),
        "peak_bytes": before + sum(found.bytes(memory).values()),
        "seconds": None if found.time is None else found.time * prediction.seconds,
    }


def show_planned(result: Json) -> None:
    """Print it for people."""
    from rich.console import Console

    tried, steps = result["rehearsal"], result["settings"]["steps"]
    seconds = tried["seconds"]
    print(
        f"heaviest update: {tried['rows']} rows, {tried['tokens']:,} tokens, loss "
        f"{tried['loss']:.3f}, {seconds['step']:.1f} s; updates in all: {steps}, "
        f"about {result['predicted_seconds']:.0f} s"
    )
    print(
        f"longest row: {tried['longest_row']:,} tokens, evaluated in {seconds['evaluation']:.1f} s"
    )
    print(f"saved: {tried['bytes_on_disk'] / 1e9:.3f} GB in {seconds['save']:.1f} s")
    print(
        f"memory: {result['predicted_peak_bytes'] / 1e9:.2f} GB predicted, "
        f"{result['peak_bytes'] / 1e9:.2f} GB measured"
    )
    if (found := result["correction"])["runs"]:
        seconds = "" if found["seconds"] is None else f", {found['seconds']:.0f} s"
        print(
            f"corrected by {found['runs']} runs on this machine: "
            f"{found['peak_bytes'] / 1e9:.2f} GB{seconds}"
        )
    console = Console(highlight=False)
    for row in result["preview"]:
        console.print(coloured(row))
    print("nothing was kept")


def coloured(row: Json) -> Text:
    """A row: the prompt dim, each token that is learned in a colour between bars, the end token
    inverted."""
    from rich.text import Text

    tokens = f"{row['prompt_tokens']} + {len(row['learned']) + (row['end'] is not None)} tokens"
    text = Text.assemble((f"{row['name']}: {tokens}\n", "bold"))
    prompt = row["prompt"]
    cut = f"... {prompt[-SHOWN_PROMPT:]}" if len(prompt) > SHOWN_PROMPT else prompt
    text.append(_plain(cut), "dim")
    for place, token in enumerate(row["learned"]):
        text.append("|", "dim")
        text.append(_plain(token), LEARNED[place % len(LEARNED)])
    text.append("|", "dim")
    text.append(_plain(row["end"] or "no end token"), "reverse" if row["end"] else "bold red")
    return text


def _plain(text: str) -> str:
    """Control characters shown, not obeyed."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
