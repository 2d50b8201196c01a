"""A page of line charts side by side, one colour a name, that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COLOURS = ("#111", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#888")


@dataclass(frozen=True)
class Panel:
    """Lines by name over one logarithmic axis; `y` is what the values are."""

    y: str
    x: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def page(panels: Sequence[Panel]) -> str:
    """All panels in one row. A line has the colour of its name in every panel."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(panels), subplot_titles=[panel.y for panel in panels])
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    shown: set[str] = set()
    for column, panel in enumerate(panels, 1):
        for name, points in panel.lines.items():
            line = go.Scatter(
                x=[x for x, _ in points], y=[y for _, y in points], name=name, legendgroup=name,
                line={"color": COLOURS[names.index(name) % len(COLOURS)]},
                showlegend=name not in shown, mode="lines+markers",
            )  # fmt: skip
            shown.add(name)
            figure.add_trace(line, 1, column)
        ticks = sorted({x for points in panel.lines.values() for x, _ in points})
        figure.update_xaxes(type="log", title=panel.x, tickvals=ticks, row=1, col=column)
    figure.update_yaxes(type="log", dtick="D2")
    width = 300 + 400 * len(panels)
    figure.update_layout(template="plotly_white", width=width, height=520, legend={"y": 0.5})
    config = {"displayModeBar": False}
    return str(figure.to_html(config=config, include_plotlyjs=True, full_html=True))
