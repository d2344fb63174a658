"""F5 as one SVG, for a study that compares settings by the dozen: what is kept over what came back."""

import math
from itertools import pairwise

from undo.report import style
from undo.report.numbers import percent
from undo.report.pareto import ModelPoint, points_at
from undo.report.results import Results
from undo.report.svg import HEIGHT, LETTER, SOFT, Panel, frame, text_at
from undo.study.rows import ModelRow

PANELS = ((70, 340), (424, 694), (778, 1048))  # x from and to of before the attack, early in it, and its end
LOCALISED = "localised while training"
COLOURS = {LOCALISED: style.STUDENT_COLOURS["teacher"]}  # students at their teachers' weights are in no such study


def draw(results: Results) -> str:
    """SVG text: a panel per step, a point per model in the colour of its kind; students are larger, untaught hollow."""
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
    parts = frame(title, f"{results.study} · {asked} · {style.seeds(shown[0].forget.n)}")
    for step, (left, right) in zip(steps, PANELS, strict=False):
        panel = Panel(left, right, max(across), min(up), max(up), min(across))
        parts += panel.axes(
            f"retain after {step:,} steps" if step else "retain before the attack", "forget", up, across
        )
        parts += [_dot(results, panel, point) for point in sorted(at[step], key=lambda point: _size(point.row))]
    return "\n".join([*parts, *_key(results, at[0]), "</svg>\n"])


def _ticks(results: Results, metric: str, values: list[float | None]) -> dict[float, str]:
    """Shares by quarters, losses by whole nats."""
    if results.form_of(metric) is percent:
        return {i / 4: f"{25 * i} %" for i in range(5)}
    known = [value for value in values if value is not None]
    low, high = math.floor(min(known)), math.ceil(max(known))
    apart = max(1, math.ceil((high - low) / 5))
    return {float(y): str(y) for y in range(low, high + apart, apart)}


def _kind(results: Results, row: ModelRow) -> tuple[str, str]:
    """What a colour means, and the colour."""
    if row.role == "teacher" and results.trained_from_start(row.id):
        return LOCALISED, COLOURS[LOCALISED]
    return style.kind(row), style.colour(row)


def _size(row: ModelRow) -> float:
    return {"teacher": 4.0, "student": 7.5}.get(row.role, 6.0)


def _dot(results: Results, panel: Panel, point: ModelPoint) -> str:
    if point.forget.mean is None or point.retain.mean is None:
        return ""
    x, y = panel.place(point.forget.mean, point.retain.mean)
    shade, size = _kind(results, point.row)[1], _size(point.row)
    look = f'fill="{shade}" fill-opacity="0.75" stroke="#ffffff"'
    if not results.reached_stop_rule(point.row.id):
        look = f'fill="#ffffff" fill-opacity="0.75" stroke="{shade}" stroke-width="2"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {look}/>'


def _key(results: Results, points: list[ModelPoint]) -> list[str]:
    """A dot and a word per kind, below the panels."""
    kinds = dict(_kind(results, point.row) for point in points)
    starts = [PANELS[0][0]]
    for name in kinds:
        starts.append(starts[-1] + round(LETTER * len(name)) + 34)
    parts = []
    for (name, shade), (x, _) in zip(kinds.items(), pairwise(starts), strict=True):
        parts.append(f'<circle cx="{x}" cy="{HEIGHT - 14}" r="6" fill="{shade}"/>')
        parts.append(text_at(x + 11, HEIGHT - 9.5, name, SOFT))
    return parts
