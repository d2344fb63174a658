"""The headline of a study as one SVG: relearning curves, and robustness over compute. Needs no browser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from undo.report.canvas import (
    LETTER,
    LINE,
    SOFT,
    Bounds,
    add_panels,
    box_at,
    free_place,
    name_panel,
    new_figure,
    points_of,
    set_ticks,
    spread,
    svg_of,
    write_label,
)
from undo.report.numbers import PERCENT, Estimate, Format, percent
from undo.report.results import Results, label
from undo.report.style import colour
from undo.spec.errors import UserError
from undo.study.rows import ModelRow, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOM = 18  # letters between the panels, before the number
KEY_ROOM = 160  # letters below them
FAR = 0.5  # below 0 and above 1, to where intervals make the panel taller
NOISED = 3  # noised students shown: a first screen is no place for every alpha
Curve = list[tuple[int, Estimate]]


def draw(results: Results) -> str:
    """SVG text. Raises UserError where no suppressed model was attacked."""
    attack = next(iter(results.attacks()), "")
    scores = results.last_scores(attack)
    teachers = [row for row in results.of_role("teacher") if row.id in scores]
    if not teachers:
        raise UserError("no suppressed model was attacked, so there is nothing to draw")
    teacher = max(teachers, key=lambda row: len(results.students_of(row.id)))
    students = [row for row in results.students_of(teacher.id) if row.id in scores]
    shown = [teacher, *_chosen(results, students, scores), *results.of_role("oracle")]
    models = [row for row in shown if row.id in scores]
    others = [row for row in students if row not in models and results.reached_stop_rule(row.id)]
    names = _names(models)
    key = _key(models, names)
    figure = new_figure(*_titles(results, attack, teacher), below=LINE * max(0, len(key) - 1))
    left, right = add_panels(figure, 2, wspace=0.62, width_ratios=(1, 1.25))
    _draw_curves(left, results, attack, models, names)
    _draw_robustness(right, models, others, scores, names)
    figure.text(0.02, 0.02, "\n".join(key), color=SOFT, fontsize=10)
    return svg_of(figure)


def _titles(results: Results, attack: str, teacher: ModelRow) -> tuple[str, str]:
    count, seeds = len(results.variants(attack)), len(results.seeds)
    spread = "one seed" if seeds == 1 else f"mean of {seeds} seeds, 95 % intervals"
    title = f"What the attack “{attack}” brings back: {teacher.id} suppressed, then distilled"
    return title, f"{results.study} · {results.describe_metric('forget')} · worst of {count} variants · {spread}"


def _names(models: list[ModelRow]) -> dict[str, str]:
    """What a label says: a letter in place of a name for which there is no room."""
    letters = iter("ABCDEFGH")
    return {row.id: name if len(name := label(row)) <= ROOM else next(letters) for row in models}


def _key(models: list[ModelRow], names: dict[str, str]) -> list[str]:
    """What the letters stand for, below the panels: in one line, or a line each where that is too long."""
    lettered = [f"{names[row.id]} {label(row)}" for row in models if names[row.id] != label(row)]
    line = "\u2003".join(lettered)
    return lettered if not lettered or len(line) > KEY_ROOM else [line]


def _chosen(results: Results, students: list[ModelRow], scores: dict[str, Score]) -> list[ModelRow]:
    """Noised students spread evenly over alpha, the fresh one, and the most robust that read text after its teacher.

    A student that mostly missed the stop rule, as noise alone does, shows robustness that means nothing.
    """
    students = [row for row in students if results.mostly_reached_stop_rule(row.id)] or students
    to_the_end = [row for row in students if not row.setting("text_share")]
    noised = [row for row in to_the_end if row.noise_alpha is not None]
    count = min(NOISED, len(noised))
    chosen = [noised[round((i + 1) * len(noised) / count) - 1] for i in range(count)]
    sign = 1 if results.higher_is_better("forget") else -1
    then_text = [row for row in students if row.setting("text_share")]
    then_text.sort(key=lambda row: sign * scores[row.id].recovery)
    return chosen + [row for row in to_the_end if row.student_init == "fresh"][:1] + then_text[:1]


def _draw_curves(axes: Axes, results: Results, attack: str, models: list[ModelRow], names: dict[str, str]) -> None:
    """Recovery over attack steps, with name and last value at the end of each line."""
    curves = {row.id: results.envelope(attack, row.id) for row in models}
    form, last = results.form_of("forget"), max(step for curve in curves.values() for step, _ in curve)
    ticks = _levels(form, list(curves.values()))
    title = "forget performance" if results.higher_is_better("forget") else "forget loss (lower: relearnt)"
    name_panel(axes, title, "attack step")
    axes.set(xlim=(0, last), ylim=(min(ticks), max(ticks)))
    set_ticks(axes, {x: f"{x:,.0f}" for x in (0, last // 2, last)}, ticks)
    for row in models:
        _draw_curve(axes, row, curves[row.id])
    _label_ends(axes, [(row, curves[row.id][-1][1].mean or 0.0) for row in models], names, form)


def _draw_curve(axes: Axes, row: ModelRow, curve: Curve) -> None:
    means = [(step, e.mean) for step, e in curve if e.mean is not None]
    banded = [(step, e.low, e.high) for step, e in curve if e.low is not None and e.high is not None]
    if banded:
        steps, lows, highs = zip(*banded, strict=True)
        axes.fill_between(steps, lows, highs, color=colour(row), alpha=0.14, linewidth=0)
    line = axes.plot(*zip(*means, strict=True), color=colour(row), linewidth=2.4)[0]
    line.set_gid(f"curve-{row.id}")
    axes.plot(*means[-1], "o", color=colour(row), markersize=6, clip_on=False)


def _label_ends(axes: Axes, ends: list[tuple[ModelRow, float]], names: dict[str, str], form: Format) -> None:
    right, bottom = points_of(axes, axes.get_xlim()[1], axes.get_ylim()[0])
    top = points_of(axes, 0, axes.get_ylim()[1])[1]
    heights = [min(max(points_of(axes, 0, value)[1], bottom), top) for _, value in ends]
    for (row, value), height, moved in zip(ends, heights, spread(heights, LINE, bottom, top), strict=True):
        arrow = {"arrowstyle": "-", "color": colour(row)}
        line = {"xycoords": "figure points", "textcoords": "figure points", "annotation_clip": False}
        axes.annotate("", (right + 5, height), xytext=(right + 17, moved), arrowprops=arrow, **line)  # type: ignore[arg-type]
        write_label(axes, f"{names[row.id]}\u2003{form(value)}", (right + 20, moved))


def _levels(form: Format, curves: list[Curve]) -> dict[float, str]:
    """Ticks of the forget axis: shares from 0 to 1, losses by whole nats.

    Losses start where they like, an oracle's far above a uniform guess; the axis is that of the attacked ones.
    """
    if form is percent:
        return {i / 4: f"{25 * i}{PERCENT}" for i in range(5)}
    means = [(step, e.mean) for curve in curves for step, e in curve if e.mean is not None]
    low, high = math.floor(min(y for _, y in means)), math.ceil(max(y for step, y in means if step)) + 1
    levels = list(range(low, high, math.ceil((high - low) / 6)))
    beyond = any(y > high for _, y in means)
    return {float(y): str(y) for y in levels} | {float(high): f"≥ {high}" if beyond else str(high)}


def _draw_robustness(
    axes: Axes, models: list[ModelRow], others: list[ModelRow], scores: dict[str, Score], names: dict[str, str]
) -> None:
    """The models by name over what they cost, and other students as faint points."""
    known = {row.id: at for row in models if (at := _place(scores[row.id]))}
    if all(row.role == "oracle" for row in models if row.id in known):
        axes.set_axis_off()
        axes.text(0, 0.98, "relative robustness is not defined here", color=SOFT, transform=axes.transAxes, va="top")
        return
    faint = [(row, at) for row in others if (at := _place(scores[row.id]))]
    places = [*known.values(), *(at for _, at in faint)]
    ends = [min(max(end, -FAR), 1 + FAR) for id in known for end in _ends(scores[id])]
    widest, heights = 1.08 * max(1.0, *(x for x, _ in places)), [*ends, *(y for _, y in places)]
    name_panel(axes, "relative robustness: 0 suppressed, 1 oracle", "FLOPs, relative to pretraining the oracle")
    axes.set(xlim=(-0.03 * widest, widest), ylim=(min(-0.08, *heights), max(1.08, *heights)))
    quarters = math.ceil(widest / 1.5)  # between ticks, so that their labels do not touch
    shares = {0.25 * i: f"{25 * i} %" for i in range(0, int(widest / 0.25) + 1, quarters)}
    set_ticks(axes, shares, {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"})
    for row, at in faint:
        axes.plot(*at, "o", color=colour(row), alpha=0.4, markersize=7)[0].set_gid(f"other-{row.id}")
    shown = [row for row in models if row.id in known]
    for row in shown:
        _draw_point(axes, row, known[row.id], _ends(scores[row.id]))
    _name_points(axes, [(names[row.id], known[row.id], _ends(scores[row.id])) for row in shown], places)


def _draw_point(axes: Axes, row: ModelRow, at: tuple[float, float], ends: list[float]) -> None:
    """A model, and its interval, with an arrow where that goes on beyond the panel."""
    shade, (low, high) = colour(row), axes.get_ylim()
    if ends:
        axes.vlines(at[0], max(ends[0], low), min(ends[1], high), color=shade, linewidth=2)
        for end, edge, arrow in ((ends[0] < low, low, "v"), (ends[1] > high, high, "^")):
            if end:
                axes.plot(at[0], edge, arrow, color=shade, clip_on=False)[0].set_gid(f"beyond-{row.id}")
    axes.plot(*at, "o", color=shade, markersize=9)[0].set_gid(f"point-{row.id}")


def _name_points(
    axes: Axes, named: list[tuple[str, tuple[float, float], list[float]]], places: list[tuple[float, float]]
) -> None:
    (x_low, x_high), (y_low, y_high) = axes.get_xlim(), axes.get_ylim()
    left, bottom = points_of(axes, x_low, y_low)
    right, top = points_of(axes, x_high, y_high)
    within: Bounds = (left, bottom, right + 20, top + LINE)
    taken = [box_at(points_of(axes, *at), 14) for at in places]
    for _, (x, _), ends in named:
        if ends:
            across, low, high = points_of(axes, x, 0)[0], *(points_of(axes, x, end)[1] for end in ends)
            taken.append((across - 3, max(low, bottom), across + 3, min(high, top)))
    for name, at, _ in named:
        width = LETTER * len(name)
        place = free_place(points_of(axes, *at), width, taken, within)
        taken.append(box_at(place, width))
        write_label(axes, name, place, ha="center")


def _place(score: Score) -> tuple[float, float] | None:
    """(compute, robustness), None where either is not defined."""
    if score.relative_compute is None or score.relative_robustness is None:
        return None
    return score.relative_compute, score.relative_robustness


def _ends(score: Score) -> list[float]:
    """Those of the interval; none for a single seed."""
    return [end for end in score.relative_robustness_ci or () if end is not None]
