"""The headline of a study as one SVG: relearning curves, and robustness over compute. Needs no browser."""

import math

from undo.report.numbers import PERCENT, Estimate, Format, percent
from undo.report.results import Results, label
from undo.report.style import colour
from undo.report.svg import (
    BOTTOM,
    HEIGHT,
    INK,
    LEFT,
    LETTER,
    LINE,
    RIGHT,
    SOFT,
    TOP,
    Box,
    Panel,
    box_at,
    frame,
    free_spot,
    spread,
    text_at,
)
from undo.spec.errors import UserError
from undo.study.rows import ModelRow, Score

ROOM = 18  # letters between the panels, before the number
KEY_ROOM = 160  # letters below them
FAR = 0.5  # below 0 and above 1, to where intervals make the panel taller
NOISED = 3  # noised students shown: a first screen is no place for every alpha


def draw(results: Results) -> str:
    """SVG text. Raises UserError where no suppressed model was attacked."""
    attack = next(iter(results.attacks()), "")
    scores = results.scores_at(attack, max(results.budgets(attack), default=0))
    teachers = [row for row in results.of_role("teacher") if row.id in scores]
    if not teachers:
        raise UserError("no suppressed model was attacked, so there is nothing to draw")
    teacher = max(teachers, key=lambda row: len(results.students_of(row.id)))
    students = [row for row in results.students_of(teacher.id) if row.id in scores]
    shown = [teacher, *_some(results, students, scores), *results.of_role("oracle")]
    models = [row for row in shown if row.id in scores]
    others = [row for row in students if row not in models and results.reached_stop_rule(row.id)]
    names = _names(models)
    key = _key(models, names)
    parts = _frame(results, attack, teacher, LINE * max(0, len(key) - 1)) + _relearning(results, attack, models, names)
    below = [text_at(24, HEIGHT - 6 + LINE * i, line, SOFT, size=12) for i, line in enumerate(key)]
    return "\n".join([*parts, *_robustness(models, others, scores, names), *below, "</svg>\n"])


def _names(models: list[ModelRow]) -> dict[str, str]:
    """What a label says: a letter in place of a name for which there is no room."""
    letters = iter("ABCDEFGH")
    return {row.id: name if len(name := label(row)) <= ROOM else next(letters) for row in models}


def _key(models: list[ModelRow], names: dict[str, str]) -> list[str]:
    """What the letters stand for, below the panels: in one line, or a line each where that is too long."""
    lettered = [f"{names[row.id]} {label(row)}" for row in models if names[row.id] != label(row)]
    line = "\u2003".join(lettered)
    return lettered if not lettered or len(line) > KEY_ROOM else [line]


def _some(results: Results, students: list[ModelRow], scores: dict[str, Score]) -> list[ModelRow]:
    """Noised students spread evenly over alpha, the fresh one, and the most robust that read text after its teacher.

    What was mostly not taught, as noise alone is not, shows robustness that means nothing.
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


def _frame(results: Results, attack: str, teacher: ModelRow, below: float) -> list[str]:
    seeds, count = len(results.seeds), len(results.variants(attack))
    spread = "one seed" if seeds == 1 else f"mean of {seeds} seeds, 95 % intervals"
    title = f"What the attack “{attack}” brings back: {teacher.id} suppressed, then distilled"
    note = f"{results.study} · {results.describe_metric('forget')} · worst of {count} variants · {spread}"
    return frame(title, note, below)


def _relearning(results: Results, attack: str, models: list[ModelRow], names: dict[str, str]) -> list[str]:
    curves = {row.id: results.envelope(attack, row.id) for row in models}
    form, last = results.form_of("forget"), max(step for points in curves.values() for step, _ in points)
    ticks = _levels(form, list(curves.values()))
    panel = Panel(*LEFT, last, min(ticks), max(ticks))
    name = "forget performance" if results.higher_is_better("forget") else "forget loss (lower: relearnt)"
    parts = panel.axes(name, "attack step", ticks, {x: f"{x:,.0f}" for x in (0, last // 2, last)})
    for row in models:
        parts += _line(panel, curves[row.id], colour(row))
    ends = [curves[row.id][-1][1].mean or 0.0 for row in models]
    heights = [panel.place(last, end)[1] for end in ends]
    for row, end, height, y in zip(models, ends, heights, spread(heights, LINE, TOP, BOTTOM), strict=True):
        parts.append(f'<path d="M{LEFT[1] + 6},{height:.1f} L{LEFT[1] + 18},{y:.1f}" stroke="{colour(row)}"/>')
        parts.append(text_at(LEFT[1] + 23, y + 4.5, f"{names[row.id]}\u2003{form(end)}", INK))
    return parts


def _levels(form: Format, curves: list[list[tuple[int, Estimate]]]) -> dict[float, str]:
    """Ticks of the forget axis: shares from 0 to 1, losses by whole nats.

    Losses start where they like, an oracle's far above a uniform guess; the axis is that of the attacked ones.
    """
    if form is percent:
        return {i / 4: f"{25 * i}{PERCENT}" for i in range(5)}
    means = [(step, e.mean) for points in curves for step, e in points if e.mean is not None]
    low, high = math.floor(min(y for _, y in means)), math.ceil(max(y for step, y in means if step)) + 1
    levels = list(range(low, high, math.ceil((high - low) / 6)))
    beyond = any(y > high for _, y in means)
    return {float(y): str(y) for y in levels} | {float(high): f"≥ {high}" if beyond else str(high)}


def _line(panel: Panel, points: list[tuple[int, Estimate]], shade: str) -> list[str]:
    means = [panel.place(step, e.mean) for step, e in points if e.mean is not None]
    highs = [panel.place(step, e.high) for step, e in points if e.high is not None]
    lows = [panel.place(step, e.low) for step, e in points if e.low is not None]
    band, line = (" ".join(f"{x:.1f},{y:.1f}" for x, y in path) for path in (highs + lows[::-1], means))
    return [
        f'<polygon points="{band}" fill="{shade}" fill-opacity="0.14"/>' if band else "",
        f'<polyline points="{line}" fill="none" stroke="{shade}" stroke-width="2.6" stroke-linejoin="round"/>',
        f'<circle cx="{means[-1][0]:.1f}" cy="{means[-1][1]:.1f}" r="4" fill="{shade}"/>',
    ]


def _robustness(
    models: list[ModelRow], others: list[ModelRow], scores: dict[str, Score], names: dict[str, str]
) -> list[str]:
    """The models by name over what they cost, and other students as faint points."""
    known = [row for row in models if None not in _at(scores[row.id])]
    if all(row.role == "oracle" for row in known):
        return [text_at(RIGHT[0], TOP - 18, "relative robustness is not defined here", SOFT)]
    points = {row.id: _at(scores[row.id]) for row in known}
    faint = [(at, colour(row)) for row in others if None not in (at := _at(scores[row.id]))]
    places = [*points.values(), *(at for at, _ in faint)]
    widest, heights = 1.08 * max(1.0, *(x for x, _ in places)), [y for _, y in places]
    heights += [min(max(end, -FAR), 1 + FAR) for row in known for end in _ends(scores[row.id])]
    panel = Panel(*RIGHT, widest, min(-0.08, *heights), max(1.08, *heights))
    quarters = math.ceil(widest / 1.5)  # between ticks, so that their labels do not touch
    shares = {0.25 * i: f"{25 * i} %" for i in range(0, int(widest / 0.25) + 1, quarters)}
    ticks = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
    x_title = "FLOPs, relative to pretraining the oracle"
    parts = panel.axes("relative robustness: 0 suppressed, 1 oracle", x_title, ticks, shares)
    taken = [box_at(*panel.place(*at), 16) for at in places]
    bars = [bar for row in known if (bar := _bar(panel, scores[row.id]))]
    parts += [_point(panel, at, shade) for at, shade in faint]
    for row in known:
        at, width = panel.place(*points[row.id]), LETTER * len(names[row.id])
        spot = free_spot(at, width, [*taken, *bars], taken)
        taken.append(box_at(*spot, width))
        parts += _dot(panel, row, scores[row.id])
        parts.append(text_at(spot[0], spot[1] + 4.5, names[row.id], INK, "middle"))
    return parts


def _point(panel: Panel, at: tuple[float, float], shade: str) -> str:
    x, y = panel.place(*at)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{shade}" fill-opacity="0.4"/>'


def _at(score: Score) -> tuple[float, float]:
    return score.relative_compute, score.relative_robustness  # pyright: ignore


def _dot(panel: Panel, row: ModelRow, score: Score) -> list[str]:
    """A point and its interval."""
    x, y = panel.place(*_at(score))
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour(row)}"/>'
    if (bar := _bar(panel, score)) is None:
        return [dot]
    _, top, _, bottom = bar
    low, high = _ends(score)
    shape = f"M{x:.1f},{bottom:.1f} V{top:.1f}"
    shape += _arrow(x, bottom, -6) if low < panel.y_min else ""
    shape += _arrow(x, top, 6) if high > panel.y_max else ""
    return [f'<path d="{shape}" fill="none" stroke="{colour(row)}" stroke-width="2"/>', dot]


def _arrow(x: float, y: float, back: float) -> str:
    """The head of an interval that goes on beyond the panel."""
    return f" M{x - 5:.1f},{y + back:.1f} L{x:.1f},{y:.1f} L{x + 5:.1f},{y + back:.1f}"


def _bar(panel: Panel, score: Score) -> Box | None:
    """The box of a point's interval, None for a single seed."""
    if not (ends := _ends(score)):
        return None
    x, bottom = panel.place(_at(score)[0], ends[0])
    return x - 2, panel.place(0, ends[1])[1], x + 2, bottom


def _ends(score: Score) -> list[float]:
    """Those of the interval; none for a single seed."""
    return [end for end in score.relative_robustness_ci or () if end is not None]
