"""What static pictures have in common: their look, the SVG text, and labels that keep off each other."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID = "#1f2730", "#5b6775", "#e3e7ec"
WIDTH, HEIGHT = 15.0, 6.6  # inches, of 72 points each
LINE = 15.0  # points from one label to the next
LETTER = 6.6  # points of a label's letter, on average
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # texts stay texts
    "svg.hashsalt": "undo",  # the same picture is the same file
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": SOFT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "ytick.left": False,
}
Bounds = tuple[float, float, float, float]  # left, bottom, right, top, in points


def new_figure(title: str, note: str, below: float = 0.0) -> Figure:
    """An empty figure under a title and what it is of; `below` is room in points for more under the panels."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    height = HEIGHT + below / 72
    with rc_context(STYLE):
        figure = Figure((WIDTH, height), dpi=72)
        figure.text(0.02, 1 - 0.42 / height, title, fontsize=16, fontweight="bold")
        figure.text(0.02, 1 - 0.75 / height, note, color=SOFT)
        figure.subplots_adjust(left=0.065, right=0.98, top=1 - 1.5 / height, bottom=(0.95 + below / 72) / height)
    return figure


def add_panels(figure: Figure, count: int, **layout: Any) -> list[Axes]:
    """Panels from left to right."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        return list(figure.subplots(1, count, squeeze=False, gridspec_kw=layout)[0])


def name_panel(axes: Axes, title: str, x_title: str) -> None:
    """A panel's heading, and what is across."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=12)
    axes.set_xlabel(x_title)


def set_ticks(axes: Axes, x: dict[float, str], y: dict[float, str]) -> None:
    """Ticks by value, with the text of each."""
    axes.set_xticks(list(x), list(x.values()))
    axes.set_yticks(list(y), list(y.values()))


def svg_of(figure: Figure) -> str:
    """The figure as SVG text: the same for the same figure."""
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def write_label(axes: Axes, text: str, at: tuple[float, float], **look: Any) -> None:
    """A text at points of the figure, on white that keeps it readable on lines."""
    ground = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
    place = {"xycoords": "figure points", "va": "center", "annotation_clip": False}
    axes.annotate(text, at, color=INK, bbox=ground, **place, **look)


def points_of(axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Where a value of a panel lies in the figure, in points."""
    across, up = axes.transData.transform((x, y))
    return float(across), float(up)


def spread(heights: list[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as keeps them `gap` apart and, where there is room, between low and high."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = dict(enumerate(heights))
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    limit = high
    for i in reversed(order):
        moved[i] = max(min(moved[i], limit), low)
        limit = moved[i] - gap
    return [moved[i] for i in range(len(heights))]


def box_at(at: tuple[float, float], width: float) -> Bounds:
    """The box of a label of this width with its centre at a place."""
    return at[0] - width / 2, at[1] - LINE / 2, at[0] + width / 2, at[1] + LINE / 2


def free_place(at: tuple[float, float], width: float, taken: list[Bounds], within: Bounds) -> tuple[float, float]:
    """The nearest place beside a point where a label of this width covers nothing; the nearest of all if none does."""
    aside = width / 2 + 10
    shifts = [(-aside, 0.0), (aside, 0.0), (0.0, -LINE), (0.0, LINE)]
    shifts += [(dx, dy) for dy in (-12.0, 12.0, -24.0, 24.0, -36.0, 36.0) for dx in (-aside, aside)]
    places = [(at[0] + dx, at[1] + dy) for dx, dy in shifts]
    return next((place for place in places if _is_free(box_at(place, width), taken, within)), places[0])


def _is_free(box: Bounds, taken: list[Bounds], within: Bounds) -> bool:
    inside = box[0] > within[0] and box[1] > within[1] and box[2] < within[2] and box[3] < within[3]
    return inside and all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
