"""The report's charts as plotly figures, from a checked record.

Colours of text, grid and background are set by `charts.js` from the page's light or dark style.
Names come from files and users, so they are escaped: plotly reads markup in labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from tutelage.lifecycle.pages import formats, lookup
from tutelage.lifecycle.record import Candidate, LossPoint, Measured, Record, Training
from tutelage.train.config import NATS

# Okabe and Ito's palette: told apart with any colour vision, legible on light and dark.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#A6761D", "#8C8CFF")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "cross", "pentagon")
GREY = "#8a8f98"
DRAWN = 2000
"""Points of a curve at most."""
TICKS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800),
    *(3600, 7200, 18000, 36000, 86400, 172800, 432000, 864000, 2592000, 7776000, 31536000),
)
Cost = Callable[[Candidate], float | None]


class Point(NamedTuple):
    """One candidate in a chart of quality against cost."""

    name: str
    place: int
    cost: float
    quality: Measured
    beaten: bool
    """Not on the front: another is at least as good at no more cost of either kind, or it took more
    memory than it may."""


def front_of_making(record: Record) -> dict[str, Any]:
    """Quality on development rows against the seconds that tuning took; 0 for a prompt."""
    figure = _quality_against_cost(record, lambda each: each.seconds)
    figure.update_xaxes(title_text="time to make it")
    return _plain(figure)


def front_of_answering(record: Record) -> dict[str, Any]:
    """Quality on development rows against the seconds that 1,000 answers take."""
    figure = _quality_against_cost(record, lambda each: each.seconds_per_1000_answers)
    figure.update_xaxes(title_text="time for 1,000 answers")
    return _plain(figure)


def loss_curves(record: Record) -> dict[str, Any] | None:
    """Loss of each training step against training time, once for candidates that share a tuning;
    None where nothing was tuned."""
    figure, unit = go.Figure(), NATS
    for training, sharing in _trainings(record):
        names = ", ".join(record.candidates[place].name for place in sharing)
        figure.add_trace(_curve(training.curve, names, COLOURS[sharing[0] % len(COLOURS)]))
        unit = training.loss_unit  # a head's is that of all, or of none
    return _losses(figure, unit) if figure.data else None


def loss_curve(points: Sequence[LossPoint]) -> dict[str, Any]:
    """Loss of the steps of one run against its time; of a long run every so many steps."""
    every = max(1, -(-len(points) // DRAWN))
    return _losses(go.Figure(_curve(points[::every], "loss", COLOURS[0])))


def _curve(points: Sequence[LossPoint], name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[point.seconds for point in points],
        y=[point.loss for point in points],
        customdata=[point.step for point in points],
        mode="lines",
        name=escape(name),
        line={"color": colour, "width": 2},
        hovertemplate="step %{customdata}, %{x:.1f} s: %{y:.3f}",
    )


def _losses(figure: go.Figure, unit: str = NATS) -> dict[str, Any]:
    figure.update_xaxes(title_text="seconds of training", rangemode="tozero")
    figure.update_yaxes(title_text=unit)
    return _plain(figure)


def _trainings(record: Record) -> list[tuple[Training, list[int]]]:
    """Each tuning that has a curve, with the places of the candidates that came of it: one of them
    is the tuned model, others the same one prompted again."""
    found: list[tuple[Training, list[int]]] = []
    for place, each in enumerate(record.candidates):
        training = record.detail.candidates[each.name].training
        if training is None or not training.curve:
            continue
        for known, sharing in found:
            if known == training and record.candidates[sharing[0]].model == each.model:
                sharing.append(place)
                break
        else:
            found.append((training, [place]))
    return found


def _quality_against_cost(record: Record, cost: Cost) -> go.Figure:
    figure = go.Figure()
    points = _points(record, cost)
    for point in points:
        figure.add_trace(_marker(point, recommended=_is_recommended(record, point.name)))
    if record.detail.goal is not None:
        goal = record.detail.goal
        figure.add_hline(y=goal, line={"color": GREY, "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=0, xref="paper", y=goal, text=f"goal {goal:g}", showarrow=False, yshift=8,
            xanchor="left", font={"size": 11, "color": GREY},
        )  # fmt: skip
    figure.update_yaxes(title_text=escape(record.detail.metric), rangemode="tozero")
    _time_axis(figure, [point.cost for point in points])
    return figure


def _points(record: Record, cost: Cost) -> list[Point]:
    points = []
    for place, each in enumerate(record.candidates):
        quality, price = lookup.development(record, each), cost(each)
        if quality is not None and quality.value is not None and price is not None:
            beaten = each.name not in record.detail.front
            points.append(Point(each.name, place, price, quality, beaten))
    return points


def _marker(point: Point, *, recommended: bool) -> go.Scatter:
    value, low, high = point.quality.value, point.quality.low, point.quality.high
    bars: dict[str, Any] | None = None
    if value is not None and low is not None and high is not None:
        colour = COLOURS[point.place % len(COLOURS)]
        bars = {"array": [high - value], "arrayminus": [value - low], "color": colour}
        bars |= {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4}
    return go.Scatter(
        x=[point.cost],
        y=[value],
        error_y=bars,
        mode="markers",
        marker={
            "color": COLOURS[point.place % len(COLOURS)],
            "symbol": SYMBOLS[point.place % len(SYMBOLS)] + ("-open" if point.beaten else ""),
            "line": {"width": 2 if point.beaten else 0},
            "size": 15 if recommended else 10,
        },
        name=("<b>%s</b>" if recommended else "%s") % escape(point.name),
        hovertemplate=f"{formats.number(value)} ({formats.interval(point.quality)})<br>"
        f"{formats.duration(point.cost)}",
    )


def _time_axis(figure: go.Figure, costs: list[float]) -> None:
    """A logarithmic axis with ticks people say (30 s, 5 min); linear if a cost is zero."""
    if not costs or min(costs) <= 0:
        figure.update_xaxes(rangemode="tozero", ticksuffix=" s")
        return
    low, high = min(costs) / 1.8, max(costs) * 1.8
    ticks = [tick for tick in TICKS if low <= tick <= high] or [min(costs)]
    ticks = ticks[:: -(-len(ticks) // 6)]
    figure.update_xaxes(
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[_tick(tick) for tick in ticks],
    )


def _tick(seconds: float) -> str:
    for unit, scale in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= scale:
            return f"{seconds / scale:g} {unit}"
    return f"{seconds:g} s"


def _is_recommended(record: Record, name: str) -> bool:
    return record.recommended is not None and record.recommended.candidate == name


def _plain(figure: go.Figure) -> dict[str, Any]:
    figure.update_layout(
        template="none",
        margin={"l": 56, "r": 12, "t": 8, "b": 96},
        height=400,
        dragmode=False,
        hovermode="closest",
        legend={"orientation": "h", "y": -0.19, "yanchor": "top", "x": 0, "xanchor": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    figure.update_xaxes(zeroline=False, fixedrange=True, title_standoff=6)
    figure.update_yaxes(zeroline=False, fixedrange=True)
    return dict(figure.to_plotly_json())
