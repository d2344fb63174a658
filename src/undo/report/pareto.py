"""F5 and F6: what a model keeps, over what came back or is left."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from undo.report import style
from undo.report.numbers import Estimate
from undo.report.results import Results
from undo.study.rows import ModelRow


class ModelPoint(NamedTuple):
    """A model with what came back, or is left, and what it keeps: means over seeds, with intervals."""

    row: ModelRow
    forget: Estimate
    retain: Estimate


def pareto_panels(results: Results, attack: str) -> dict[int, go.Figure]:
    """F5 before the attack and at each budget: retain over forget, a point per model."""
    at = points_at(results, attack)
    if not at:
        return {}
    retained = [point.retain.mean for points in at.values() for point in points if point.retain.mean is not None]
    room = 0.1 * (max(retained) - min(retained)) + 0.02
    scale = [min(retained) - room, max(retained) + room]  # one for all steps, so that points move and axes do not
    draw = _by_method if results.compares_settings() else _by_model
    return {step: draw(results, points).update_yaxes(range=scale) for step, points in at.items()}


def points_at(results: Results, attack: str) -> dict[int, list[ModelPoint]]:
    """The attacked models before the attack and at each budget; nothing where there is no budget."""
    budgets = results.budgets(attack)
    rows = [of[0] for id, of in results.by_id.items() if results.curves_of(attack, id)]
    steps = (0, *budgets) if budgets else ()
    return {step: [ModelPoint(row, *results.kept(attack, row.id, step)) for row in rows] for step in steps}


def _by_model(results: Results, points: list[ModelPoint]) -> go.Figure:
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


def _hover(results: Results, point: ModelPoint) -> str:
    texts = [
        f"{name} {found.text(results.form_of(name))}"
        for name, found in (("forget", point.forget), ("retain", point.retain))
    ]
    return f"<b>{escape(point.row.id)}</b><br>{'<br>'.join(texts)}<br>{style.seeds(point.forget.n)}"


def _retain_over_forget(results: Results, traces: list[go.Scatter]) -> go.Figure:
    titles = (style.metric_title(results, metric) for metric in ("forget", "retain"))
    figure = style.new_figure(traces, *titles)
    return style.by_unit(style.by_unit(figure, results, "x", "forget"), results, "y", "retain")


def settings_pareto(results: Results) -> go.Figure | None:
    """F5 before any attack, for a search: retain over forget, a point per setting of a method, beside the base."""
    teachers = results.of_role("teacher")
    if not teachers:
        return None
    rows = [*results.of_role("base", "oracle"), *teachers]
    points = [ModelPoint(row, *(results.mean(row.id, metric) for metric in ("forget", "retain"))) for row in rows]
    return _by_method(results, points)


def _by_method(results: Results, points: list[ModelPoint]) -> go.Figure:
    """Settings by the method that they are of; methods beyond the colours differ by their marker, students by size."""
    kinds: dict[str, list[ModelPoint]] = {}
    for point in points:
        kinds.setdefault(_kind(point.row), []).append(point)
    traces = [_settings(results, name, of, i) for i, (name, of) in enumerate(kinds.items())]
    return _retain_over_forget(results, traces).update_layout(height=520)


def _kind(row: ModelRow) -> str:
    return style.kind(row) if row.role == "student" else row.method or row.role


def _settings(results: Results, name: str, points: list[ModelPoint], i: int) -> go.Scatter:
    shade = style.COLOURS.get(name, style.PALETTE[i % len(style.PALETTE)])
    symbol = style.SYMBOLS[(i + i // len(style.PALETTE)) % len(style.SYMBOLS)]
    look: dict[str, Any] = {"size": 11, "color": shade, "symbol": symbol}
    if points[0].row.role == "student":
        shade = style.colour(points[-1].row)
        symbols = ["hexagram" if results.reached_stop_rule(point.row.id) else "hexagram-open" for point in points]
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
