"""F5 and F6: what a model keeps, over what came back or is left."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from undo.report import rows as r
from undo.report import style

Results = r.Results


class Point(NamedTuple):
    """A model with what came back, or is left, and what it keeps: means over seeds, with intervals."""

    row: r.Row
    forget: r.Estimate
    retain: r.Estimate


def pareto_panels(results: Results, attack: str) -> dict[int, go.Figure]:
    """F5 before the attack and at each budget: retain over forget, a point per model."""
    at = points_at(results, attack)
    if not at:
        return {}
    retained = [point.retain.mean for points in at.values() for point in points if point.retain.mean is not None]
    room = 0.1 * (max(retained) - min(retained)) + 0.02
    scale = [min(retained) - room, max(retained) + room]  # one for all steps, so that points move and axes do not
    draw = _by_method if r.compares_settings(results) else _by_model
    return {step: draw(results, points).update_yaxes(range=scale) for step, points in at.items()}


def points_at(results: Results, attack: str) -> dict[int, list[Point]]:
    """The attacked models before the attack and at each budget; nothing where there is no budget."""
    budgets = r.budgets(results, attack)
    rows = [of[0] for id, of in r.by_id(results).items() if r.curves_of(results, attack, id)]
    steps = (0, *budgets) if budgets else ()
    return {step: [Point(row, *r.kept(results, attack, row["id"], step)) for row in rows] for step in steps}


def _by_model(results: Results, points: list[Point]) -> go.Figure:
    methods = style.methods(results)
    traces = [
        go.Scatter(
            x=[point.forget.mean],
            y=[point.retain.mean],
            error_x=style.error([point.forget], style.faint(style.colour(point.row), 0.6)),
            error_y=style.error([point.retain], style.faint(style.colour(point.row), 0.6)),
            mode="markers",
            marker=style.marker(results, point.row, methods),
            showlegend=False,
            hovertemplate=f"{_hover(results, point)}<extra></extra>",
        )
        for point in points
    ]
    return _retain_over_forget(results, traces).update_layout(height=400)


def _hover(results: Results, point: Point) -> str:
    texts = [
        f"{name} {found.text(r.form_of(results, name))}"
        for name, found in (("forget", point.forget), ("retain", point.retain))
    ]
    return f"<b>{escape(point.row['id'])}</b><br>{'<br>'.join(texts)}<br>{style.seeds(point.forget.n)}"


def _retain_over_forget(results: Results, traces: list[go.Scatter]) -> go.Figure:
    titles = (style.metric_title(results, metric) for metric in ("forget", "retain"))
    figure = style.new_figure(traces, *titles)
    return style.by_unit(style.by_unit(figure, results, "x", "forget"), results, "y", "retain")


def settings_pareto(results: Results) -> go.Figure | None:
    """F5 before any attack, for a search: retain over forget, a point per setting of a method, beside the base."""
    teachers = r.of_role(results, "teacher")
    if not teachers:
        return None
    rows, groups = [*r.of_roles(results, "base", "oracle"), *teachers], r.by_id(results)
    points = [Point(row, *(r.mean_of(groups[row["id"]], metric) for metric in ("forget", "retain"))) for row in rows]
    return _by_method(results, points)


def _by_method(results: Results, points: list[Point]) -> go.Figure:
    """Settings by the method that they are of; methods beyond the colours differ by their marker, students by size."""
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(_kind(point.row), []).append(point)
    traces = [_settings(results, name, of, i) for i, (name, of) in enumerate(kinds.items())]
    return _retain_over_forget(results, traces).update_layout(height=520)


def _kind(row: r.Row) -> str:
    return style.kind(row) if row["role"] == "student" else row["method"] or row["role"]


def _settings(results: Results, name: str, points: list[Point], i: int) -> go.Scatter:
    shade = style.COLOURS.get(name, style.PALETTE[i % len(style.PALETTE)])
    symbol = style.SYMBOLS[(i + i // len(style.PALETTE)) % len(style.SYMBOLS)]
    look: dict[str, Any] = {"size": 11, "color": shade, "symbol": symbol}
    if points[0].row["role"] == "student":
        shade = style.colour(points[-1].row)
        symbols = ["hexagram" if r.keeps_retain(results, point.row["id"]) else "hexagram-open" for point in points]
        look = {"size": 16, "color": [style.colour(point.row) for point in points], "symbol": symbols}
    return go.Scatter(
        x=[point.forget.mean for point in points],
        y=[point.retain.mean for point in points],
        error_x=style.error([point.forget for point in points], style.faint(shade, 0.6)),
        error_y=style.error([point.retain for point in points], style.faint(shade, 0.6)),
        mode="markers",
        name=escape(name),
        marker=look,
        customdata=[_hover(results, point) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
    )
