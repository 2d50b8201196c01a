"""`report.html` of `tutelage pretrain`: its record as one page for people; nothing is computed.

Looks every number up in the record and stops, naming the key, where one is missing. The page is
written from the record by whoever asked for the run: how it looks is no part of what a run follows
from.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from tutelage import store
from tutelage.config import validate
from tutelage.errors import GuardError, RequestError
from tutelage.lifecycle.pages import figures, page
from tutelage.lifecycle.record import LossPoint, Measured

SHOWN = (
    *("config", "model", "objective", "parameters", "tokens", "seconds", "processor_seconds"),
    *("tokens_per_second", "mfu", "mfu_convention", "gemm_flops", "flops", "waiting_share"),
    *("peak_bytes", "steps", "loss", "loss_scale", "skipped_steps", "data", "epochs", "machine"),
    *("predicted_memory", "predicted_seconds", "probed_seconds", "predicted_peak_bytes"),
    *("model_folder", "bits_per_byte", "held_out_loss", "baselines", "curve", "samples"),
)
"""Of the record, what the page looks up."""
UNITS = {"bits_per_byte": "bits per byte", "held_out_loss": "nats per predicted token"}


def is_raised(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of `tutelage pretrain`."""
    return "bits_per_byte" in record and "candidates" not in record


def write_raised(record: Mapping[str, Any], folder: Path) -> Path:
    """Write `folder`/report.html and return its path. Raises GuardError naming what is missing."""
    path = folder / "report.html"
    store.write_text(path, render(record))
    return path


def render(record: Mapping[str, Any]) -> str:
    """The page as text, the same for the same record."""
    try:
        context = _context(record)
    except KeyError as error:
        raise GuardError("the record cannot be shown", field=error.args[0]) from error
    except RequestError as error:
        raise GuardError(
            f"the record cannot be shown: {error.message}", field=error.field, got=error.got
        ) from error
    return page.render("raised.html", context, get_plotlyjs())


def _context(record: Mapping[str, Any]) -> dict[str, Any]:
    kind = "bits_per_byte" if record["bits_per_byte"] else "held_out_loss"
    points = [validate(LossPoint, point) for point in record["curve"]]
    found = {name: validate(Measured, one) for name, one in record[kind].items()}
    others = {
        domain: {name: validate(Measured, one) for name, one in each.items()}
        for domain, each in record["baselines"].items()
    }
    return {
        "record": {name: record[name] for name in SHOWN},
        "title": f"{record['config']['name']}: a model from nothing",
        "unit": UNITS[kind],
        "held_out": found,
        "baselines": others,
        "compared": list(dict.fromkeys(name for each in others.values() for name in each)),
        "losses": figures.loss_curve(points),
        "samples": _by_step(record["samples"]),
        "config": store.to_json(record["config"]),
    }


def _by_step(samples: list[dict[str, Any]]) -> list[tuple[int, list[str]]]:
    """What was said at each step, in order."""
    return [
        (step, [one["text"] for one in said])
        for step, said in itertools.groupby(samples, lambda one: one["step"])
    ]
