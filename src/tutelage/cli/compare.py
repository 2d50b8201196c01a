"""`tutelage compare A B`: is one evaluation better than another, or can nobody tell yet?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tutelage.cli.shared import Shared
from tutelage.errors import DamagedError, DataError, RequestError, UnknownName

if TYPE_CHECKING:
    import numpy as np


def compare(
    a: Path,
    b: Path,
    *,
    metric: str | None = None,
    test: str = "randomization",
    by_row: bool = False,
    noise: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    shared: Shared | None = None,
) -> dict[str, Any]:
    """Say whether A is better or worse than B, by a paired test on the same rows.

    Rows that share a source are taken together. Where they differ most is listed slice by slice.

    Parameters
    ----------
    a
        An evaluation, as `tutelage eval --out` writes it, or a run: its recommended candidate's
        on test rows.
    b
        Another on the same rows. The difference is A minus B.
    metric
        The metric to compare; the first one that both have if not given.
    test
        randomization, bootstrap, or mcnemar for right-or-wrong rows.
    by_row
        Take rows one by one even where they share a source.
    noise
        Evaluations of one recipe under different seeds: a difference within what these show is
        none.
    """
    shared = shared or Shared()
    from tutelage.evaluate import statistics
    from tutelage.evaluate.noise import noise_floor
    from tutelage.evaluate.slices import compare_slices
    from tutelage.score import METRICS

    one, other = read_evaluation(a), read_evaluation(b)
    same_items(one, other, a, b)
    name = _metric(one, other, metric, a, b)
    rows_a, rows_b = _statistics(one, name, a), _statistics(other, name, b)
    found = METRICS.get(name, field="--metric")
    clusters = None if by_row else _sources(one["items"])
    seed = shared.seed or 0
    result = statistics.compare(
        rows_a, rows_b, found.aggregate, seed, clusters=clusters, limits=found.limits, test=test
    )
    floor = (
        noise_floor([_value(read_evaluation(path), name, path) for path in noise])
        if noise
        else None
    )
    verdict = _verdict(result.verdict, found.errors)
    if floor is not None and abs(result.difference) <= floor.size:
        verdict = "cannot tell"
    cut = compare_slices(one["items"], rows_a, rows_b, found.aggregate, seed, found.limits)
    return {
        "metric": name,
        **result.as_json(),
        "verdict": verdict,
        "clusters": None if clusters is None else len(set(clusters)),
        "noise": None if floor is None else vars(floor),
        "slices": [
            {
                "by": where.by, "value": where.value, **each.as_json(),
                "verdict": _verdict(each.verdict, found.errors),
            }
            for where, each in cut
        ],
        "a": {"file": str(a), "model": one.get("model"), **one["metrics"][name]},
        "b": {"file": str(b), "model": other.get("model"), **other["metrics"][name]},
    }  # fmt: skip


def _verdict(found: str, errors: bool) -> str:
    """Of an error rate less is better."""
    turned = {"better": "worse", "worse": "better"}
    return turned.get(found, found) if errors else found


def _sources(items: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Which document each item came from; None where no two share one, or one has none."""
    named = [str(item.get("source") or "") for item in items]
    return named if all(named) and 1 < len(set(named)) < len(named) else None


def _value(side: Mapping[str, Any], metric: str, path: Path) -> float:
    measured = side["metrics"].get(metric)
    if measured is None or measured.get("value") is None:
        raise UnknownName(f"metric of {path}", metric, side["metrics"], field="--noise")
    return float(measured["value"])


def show(result: dict[str, Any]) -> None:
    """Print the verdict in a sentence, the numbers it rests on, and the slices that differ."""
    from rich.console import Console

    console = Console()
    sentences = {
        "better": "A is better than B",
        "worse": "A is worse than B",
        "cannot tell": "cannot tell A from B",
    }
    console.print(f"{result['metric']}: {sentences[result['verdict']]}", style="bold")
    lines = [
        f"{side.upper()} {result[side]['value']:.3f} ({result[side]['low']:.3f} to "
        f"{result[side]['high']:.3f})  {result[side]['file']}"
        for side in ("a", "b")
    ]
    interval = f"{result['low']:+.3f} to {result['high']:+.3f}"
    lines.append(
        f"difference {result['difference']:+.3f} ({interval}), "
        f"p = {result['p_value']:.4f} ({result['test']}), {result['n']} rows"
        + (f" of {result['clusters']} sources" if result["clusters"] else "")
    )
    if result["noise"]:
        lines.append(f"seeds alone differ by up to {result['noise']['size']:.3f}")
    if result["verdict"] == "cannot tell" and result["n_needed"] is not None:
        lines.append(
            f"a difference of this size shows with 80% power on about {result['n_needed']} rows"
        )
    told = [one for one in result["slices"] if one["verdict"] != "cannot tell"]
    lines += [
        f"A is {one['verdict']} where {one['by']} is {one['value']}: {one['difference']:+.3f}, "
        f"corrected p = {one['p_value']:.4f}, {one['n']} rows"
        for one in told
    ]
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def read_evaluation(path: Path) -> dict[str, Any]:
    """An eval file, or a run's. Raises DataError naming what it is instead."""
    from tutelage.store import read_json

    if (path / "record.json").is_file():
        path = _recommended(path)
    if path.is_dir():
        raise DataError(
            f"{path} is a folder",
            field=str(path),
            expected="an eval file, as written by: tutelage eval MODEL --data F --out FILE",
        )
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise DataError(f"no such file: {path}", field=str(path)) from None
    except DamagedError as error:
        raise DataError(error.message, field=str(path), expected="an eval file") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}", field=str(path)) from None
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items or not isinstance(value.get("metrics"), dict):
        raise DataError(
            f"{path} is not an eval file",
            field=str(path),
            expected='an object with "metrics" and a list of "items"',
            hint="write one with: tutelage eval MODEL --data F --out FILE",
        )
    for place, item in enumerate(items):
        if not isinstance(item, dict) or not {"id", "reference", "statistics"} <= item.keys():
            raise DataError(
                f"{path}: item {place} is incomplete",
                field=f"{path}: items.{place}",
                expected="id, reference and statistics",
            )
    return value


def _recommended(run: Path) -> Path:
    """Where a run keeps the test evaluation of what it recommends."""
    from tutelage.store import read_json

    chosen = read_json(run / "record.json").get("recommended")
    if chosen is None:
        raise DataError(f"{run} recommends no candidate to compare", field=str(run))
    return run / "candidates" / str(chosen["candidate"]) / "test.json"


def _statistics(side: Mapping[str, Any], metric: str, path: Path) -> np.ndarray:
    """[n, k] of one metric. Raises DataError if items lack it or disagree in their columns."""
    import numpy as np

    try:
        rows = np.array([item["statistics"][metric] for item in side["items"]], dtype=float)
        measured = side["metrics"][metric].keys()
    except (KeyError, TypeError, ValueError, AttributeError):
        rows, measured = np.empty(0), set()
    if rows.ndim != 2 or not {"value", "low", "high"} <= set(measured):
        raise DataError(
            f"{path}: {metric} is incomplete",
            field=f"{path}: statistics.{metric}",
            expected="one row of numbers an item, all of one length, and a measured value",
        )
    for place in np.flatnonzero(~np.isfinite(rows).all(axis=1)):
        raise DataError(
            f"{path}: {metric} of item {place} is not a number",
            field=f"{path}: items.{place}.statistics.{metric}", got=rows[place].tolist(),
            expected="finite numbers",
        )  # fmt: skip
    return rows


def same_items(one: Mapping[str, Any], other: Mapping[str, Any], a: Path, b: Path) -> None:
    """Pairing needs the same questions in the same order, with the same right answers, and
    more than one of them. Raises RequestError."""
    left = [(item["id"], item["reference"]) for item in one["items"]]
    right = [(item["id"], item["reference"]) for item in other["items"]]
    if left == right and len(left) > 1:
        return
    if left == right:
        raise DataError(
            f"too few items to compare in {a}", field=str(a), got="1 item", expected="2 or more"
        )
    if len(left) != len(right):
        got, expected = f"{len(right)} items in {b}", f"{len(left)} items as in {a}"
    else:
        place = next(
            p for p, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1]
        )
        got, expected = f"item {right[place][0]!r} in {b}", f"item {left[place][0]!r} as in {a}"
    raise RequestError(
        "the two evaluations are not of the same items",
        field="items",
        got=got,
        expected=expected,
        hint="evaluate both on the same rows, with the same --limit and the same --examples",
    )


def _metric(
    one: Mapping[str, Any], other: Mapping[str, Any], asked: str | None, a: Path, b: Path
) -> str:
    both = [name for name in one["metrics"] if name in other["metrics"]]
    if asked is not None and asked not in both:
        raise UnknownName("metric of both evaluations", asked, both, field="--metric")
    if not both:
        raise RequestError("no metric was measured in both", field="metrics", got=f"{a} and {b}")
    return asked or both[0]
