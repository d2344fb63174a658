"""How figures look: what colours and markers mean, axes by metric, intervals."""

from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from undo.report.numbers import Estimate
from undo.report.results import Results, label
from undo.study.rows import ModelRow

# Okabe and Ito's palette, safe for colour-blind readers; grey instead of black, to be seen on a dark page too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#BB6E9C", "#E69F00", "#56B4E9")
COLOURS = {"base": "#8A8A8A", "oracle": "#009E73", "teacher": "#D55E00"}
STUDENT_COLOURS = {"fresh": "#0072B2", "base_init": "#56B4E9", "teacher": "#E69F00", "noised": "#BB6E9C"}
WEAK_NOISE, STRONG_NOISE = (223, 160, 194), (140, 58, 112)  # alpha 0 and 1: the palette's purple, lighter and darker
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
MISSED = "circle-open"
LETTERS = dict(zip((*SYMBOLS, MISSED), "●■◆▲✚★○", strict=True))  # the same markers for a legend in HTML


def new_figure(traces: list, x_title: str, y_title: str) -> go.Figure:
    """A figure in the style of them all."""
    axis = {"automargin": True, "zeroline": False, "tickangle": 0}
    layout = {
        "template": {},  # the page has its own, light and dark; plotly's would be copied into every figure
        "height": 480,
        "margin": {"l": 64, "r": 18, "t": 18, "b": 56},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
        "xaxis": {**axis, "title": {"text": x_title}},
        "yaxis": {**axis, "title": {"text": y_title}},
    }
    return go.Figure(traces, layout)


def colour(row: ModelRow) -> str:
    """By role; students by initialisation, noised ones darker with alpha."""
    if row.role != "student":
        return COLOURS[row.role]
    if row.noise_alpha is None:
        return STUDENT_COLOURS[row.student_init or "fresh"]
    mixed = [
        round((1 - row.noise_alpha) * weak + row.noise_alpha * strong)
        for weak, strong in zip(WEAK_NOISE, STRONG_NOISE, strict=True)
    ]
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def faint(colour: str, alpha: float = 0.15) -> str:
    """A colour that lets others through: bands, intervals."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def methods(results: Results) -> dict[str, str]:
    """Marker by unlearning method."""
    names = dict.fromkeys(row.method for row in results.models if row.method)
    return {name: SYMBOLS[i % len(SYMBOLS)] for i, name in enumerate(names)}


def marker(results: Results, row: ModelRow, methods: dict[str, str]) -> dict[str, Any]:
    """A point of a model in figures of all models; hollow where it missed the stop rule in a seed."""
    hollow = "" if results.reached_stop_rule(row.id) else "-open"
    return {"size": 11, "color": colour(row), "symbol": methods.get(row.method or "", "circle") + hollow}


@dataclass(frozen=True)
class Mark:
    """An entry of a legend: what a colour or a marker means."""

    name: str
    colour: str
    symbol: str


def key(results: Results) -> list[Mark]:
    """What colours and markers of the figures over all models mean."""
    marks: dict[str, Mark] = {}
    for row in results.models:
        noised = row.noise_alpha is not None
        marks[kind(row)] = Mark(kind(row), STUDENT_COLOURS["noised"] if noised else colour(row), "circle")
    shapes = [Mark(name, COLOURS["base"], symbol) for name, symbol in methods(results).items()]
    missed = any(not results.reached_stop_rule(id) for id in results.by_id)
    hollow = [Mark("missed the stop rule", COLOURS["base"], MISSED)] if missed else []
    return [*marks.values(), *(shapes if len(shapes) > 1 else []), *hollow]


def kind(row: ModelRow) -> str:
    """What models of one colour are called: noised students alike, others as in a figure of one teacher."""
    return label(row) if row.noise_alpha is None else "UNDO student"


def error(found: list[Estimate], colour: str) -> dict[str, Any]:
    """Half-widths of the intervals; none for a single seed. Student-t intervals are symmetric."""
    halves = [None if e.high is None or e.mean is None else e.high - e.mean for e in found]
    return {"type": "data", "array": halves, "color": colour, "thickness": 1.3, "width": 4}


def seeds(n: int) -> str:
    """How many seeds a number has, for a hover text."""
    return "one seed: no interval" if n == 1 else f"{n} seeds"


def metric_title(results: Results, metric: str) -> str:
    """`forget (exact match, forget test; %, 800 items)`, for an axis."""
    return f"{metric} ({escape(results.describe_metric(metric))})"


def by_unit(figure: go.Figure, results: Results, axis: str, metric: str) -> go.Figure:
    """Fractions run from 0 to 100 %, with room for the markers at both ends."""
    update = figure.update_xaxes if axis == "x" else figure.update_yaxes
    if results.metrics[metric].unit == "fraction":
        return update(tickformat=".0%", range=[-0.03, 1.04])
    return update(tickformat=".2f")
