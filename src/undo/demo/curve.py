"""The curve of a live attack beside the recorded ones, as a figure and as text."""

from collections.abc import Iterable
from html import escape
from typing import Any

import plotly.graph_objects as go

from undo.demo.relearning import Relearning
from undo.demo.study_view import StudyView, attack_name
from undo.report.numbers import Format
from undo.report.results import label
from undo.report.style import COLOURS, colour
from undo.study.rows import ModelRow, Point

SYMBOLS = {"base": "circle", "teacher": "square", "student": "diamond", "oracle": "triangle-up"}


def curve_figure(
    view: StudyView, lineup: list[ModelRow], attack: str, steps: int, live: Relearning | None
) -> go.Figure:
    """The live curve, thick, and what the study recorded of the line-up's other models, dashed."""
    skill, names = skill_of(view, attack), view.results.form_of("forget")
    others = [row for row in lineup if live is None or row.id != live.row.id]
    recorded = [(row, curve) for row in others if (curve := view.curve(row, attack))]
    traces = [_line(row, curve.points, skill, names, f"{label(row)}, recorded") for row, curve in recorded]
    if live:
        traces.append(_line(live.row, live.points, skill, names, f"{label(live.row)}, live", width=4))
    figure = go.Figure(traces)
    _lay_out(figure, steps, _axis(view, skill, figure))
    if chance := view.results.metrics["forget"].chance:
        figure.add_hline(chance, line={"dash": "dot", "width": 1, "color": COLOURS["base"]}, annotation_text="guessing")
    return figure


def tell(view: StudyView, live: Relearning) -> str:
    """How far an attack is, as HTML."""
    skill, forms = skill_of(view, live.attack), [view.results.form_of(name) for name in ("forget", "retain")]
    last, state = live.points[-1], "Stopped after step" if live.stopped else "Step"
    scores = f"{skill} {forms[0](last.value(skill))}, retain {forms[1](last.retain)}"
    known = live.trouble or f"{scores} at step {last.step:,}"
    return f"<p>{state} {live.done:,} of {live.steps:,} against the {escape(label(live.row))}: {escape(known)}.</p>"


def render_points(view: StudyView, live: Relearning | None) -> str:
    """The live curve as a table for those who do not see it, as HTML."""
    if live is None:
        return ""
    names = list(dict.fromkeys([skill_of(view, live.attack), "forget", "retain"]))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "forget tokens", *names))
    rows = "".join(_point(view, point, names) for point in live.points)
    return f"<details><summary>The curve in numbers</summary><table><tr>{head}</tr>{rows}</table></details>"


def _point(view: StudyView, point: Point, names: list[str]) -> str:
    values = [f"{point.step:,}", f"{point.forget_tokens:,}"]
    values += [view.results.form_of(name)(point.value(name)) for name in names]
    return f"<tr>{''.join(f'<td>{value}</td>' for value in values)}</tr>"


def skill_of(view: StudyView, attack: str) -> str:
    """What an attack relearns: forget or neutral."""
    return next(curve.skill for curve in view.results.curves if attack_name(curve) == attack)


def _line(
    row: ModelRow, points: Iterable[Point], skill: str, form: Format, name: str, width: float = 1.8
) -> go.Scatter:
    return go.Scatter(
        x=[point.step for point in points],
        y=[point.value(skill) for point in points],
        name=escape(name),
        mode="lines+markers",
        line={"color": colour(row), "width": width, "dash": "solid" if width > 2 else "dash"},
        marker={"symbol": SYMBOLS[row.role], "size": 4 + 2 * width},
        customdata=[form(point.value(skill)) for point in points],
        hovertemplate="step %{x:,}: %{customdata}",
    )


def _axis(view: StudyView, skill: str, figure: go.Figure) -> dict[str, Any]:
    """Shares from 0 to 1 whatever the curve does; losses as far as attacked models have them, for an oracle that never
    learnt the skill starts far above.
    """
    metric = view.results.metrics[skill]
    if metric.unit == "fraction":
        return {"title": {"text": metric.name}, "tickformat": ".0%", "range": [-0.03, 1.03]}
    relearned = "" if metric.higher_is_better else " (lower: relearned)"
    lines: list[dict[str, Any]] = figure.to_plotly_json()["data"]
    shown = [y for line in lines for x, y in zip(line["x"], line["y"], strict=True) if x]
    room = 0.06 * (max(shown) - min(shown)) + 0.01 if shown else 0.0
    bounds = {"range": [min(shown) - room, max(shown) + room]} if shown else {}
    return {"title": {"text": f"{metric.name}<br>{metric.unit}{relearned}"}, **bounds}


def _lay_out(figure: go.Figure, steps: int, y_axis: dict[str, Any]) -> None:
    """No colours of its own: the page's style sheet has those, light and dark."""
    clear, axis = "rgba(0,0,0,0)", {"automargin": True, "zeroline": False, "gridcolor": "rgba(128,128,128,0.25)"}
    figure.update_layout(
        template={},
        height=380,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        xaxis={**axis, "title": {"text": "relearning steps"}, "range": [-0.01 * steps, 1.01 * steps]},
        yaxis={**axis, **y_axis},
    )
