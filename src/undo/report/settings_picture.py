"""F5 as one SVG, for a study that compares settings by the dozen: what is kept over what came back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from undo.report import style
from undo.report.canvas import SOFT, add_panels, name_panel, new_figure, set_ticks, svg_of
from undo.report.numbers import percent
from undo.report.pareto import ModelPoint, points_at
from undo.report.results import Results
from undo.study.rows import ModelRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOCALISED = "localised while training"
COLOURS = {LOCALISED: style.STUDENT_COLOURS["teacher"]}  # students at their teachers' weights are in no such study
SIZES = {"teacher": 5.5, "student": 10.0}


def draw(results: Results) -> str:
    """SVG text: a panel per step, a point per model in the colour of its kind.

    Students are larger; those that missed the stop rule in a seed are hollow.
    """
    attack = results.attacks()[0]
    at = points_at(results, attack)
    early = max((step for step in at if step <= 40), default=0)
    steps = list(dict.fromkeys([0, early, max(at)]))
    shown = [point for step in steps for point in at[step]]
    across, up = (
        _ticks(results, axis, [getattr(point, axis).mean for point in shown]) for axis in ("forget", "retain")
    )
    title = f"What is kept over what the attack “{attack}” brought back: a point per setting"
    asked = f"{results.describe_metric('forget')} · worst of {len(results.variants(attack))} variants"
    figure = new_figure(title, f"{results.study} · {asked} · {style.seeds(shown[0].forget.n)}", below=18)
    for step, axes in zip(steps, add_panels(figure, len(steps), wspace=0.2), strict=True):
        name_panel(axes, f"retain after {step:,} steps" if step else "retain before the attack", "forget")
        axes.set(xlim=_with_room(across), ylim=_with_room(up))
        set_ticks(axes, across, up)
        for point in sorted(at[step], key=lambda point: _size(point.row)):
            _draw_point(axes, results, point, step)
    _add_key(figure, dict(_kind(results, point.row) for point in at[0]))
    return svg_of(figure)


def _ticks(results: Results, metric: str, values: list[float | None]) -> dict[float, str]:
    """Shares by quarters, losses by whole nats."""
    if results.form_of(metric) is percent:
        return {i / 4: f"{25 * i} %" for i in range(5)}
    known = [value for value in values if value is not None]
    low, high = math.floor(min(known)), math.ceil(max(known))
    apart = max(1, math.ceil((high - low) / 5))
    return {float(y): str(y) for y in range(low, high + apart, apart)}


def _with_room(ticks: dict[float, str]) -> tuple[float, float]:
    """An axis that leaves room for half a point at its ends."""
    room = 0.03 * (max(ticks) - min(ticks))
    return min(ticks) - room, max(ticks) + room


def _kind(results: Results, row: ModelRow) -> tuple[str, str]:
    """What a colour means, and the colour."""
    if row.role == "teacher" and results.trained_from_start(row.id):
        return LOCALISED, COLOURS[LOCALISED]
    return style.kind(row), style.colour(row)


def _size(row: ModelRow) -> float:
    return SIZES.get(row.role, 8.0)


def _draw_point(axes: Axes, results: Results, point: ModelPoint, step: int) -> None:
    if point.forget.mean is None or point.retain.mean is None:
        return
    shade, full = _kind(results, point.row)[1], results.reached_stop_rule(point.row.id)
    drawn = axes.plot(
        point.forget.mean,
        point.retain.mean,
        "o",
        markersize=_size(point.row),
        markerfacecolor=shade if full else "white",
        markeredgecolor="white" if full else shade,
        alpha=0.75,
    )
    drawn[0].set_gid(f"{'point' if full else 'hollow'}-{step}-{point.row.id}")


def _add_key(figure: Figure, kinds: dict[str, str]) -> None:
    """A dot and a word per kind, below the panels."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=shade, marker="o", linestyle="", markersize=8) for shade in kinds.values()]
    figure.legend(marks, list(kinds), loc="lower left", ncols=len(kinds), frameon=False, labelcolor=SOFT)
