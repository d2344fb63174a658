"""Drawing for a picture of a study: a panel with axes, and labels that keep off each other. Pixels, no browser."""

from dataclasses import dataclass
from html import escape
from itertools import pairwise

INK, SOFT, GRID = "#1f2730", "#5b6775", "#e3e7ec"
WIDTH, HEIGHT, TOP, BOTTOM = 1080, 470, 112, 398
LEFT, RIGHT = (70, 400), (650, 1050)  # x from and to of the two panels; labels of lines stand between them
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
LINE, LETTER = 17, 8.0  # px of a 13 px label: its height, and its width per letter
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Panel:
    """A plot from `left` to `right` px that shows x from `x_min` to `x_max` and y from `y_min` to `y_max`."""

    left: int
    right: int
    x_max: float
    y_min: float
    y_max: float
    x_min: float = 0.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a value; what lies outside the panel is drawn at its edge."""
        up = min(max((y - self.y_min) / (self.y_max - self.y_min), 0.0), 1.0)
        across = (x - self.x_min) / (self.x_max - self.x_min)
        return self.left + (self.right - self.left) * across, BOTTOM - (BOTTOM - TOP) * up

    def axes(self, title: str, x_title: str, y_ticks: dict[float, str], x_ticks: dict[float, str]) -> list[str]:
        """Grid, ticks and titles."""
        parts = [text_at(self.left, TOP - 18, title, INK, weight=600)]
        parts.append(text_at((self.left + self.right) / 2, BOTTOM + 46, x_title, SOFT, "middle"))
        for value, text in y_ticks.items():
            y = self.place(self.x_min, value)[1]
            parts.append(f'<path d="M{self.left},{y:.1f} H{self.right}" stroke="{GRID}"/>')
            parts.append(text_at(self.left - 8, y + 4.5, text, SOFT, "end"))
        return parts + [text_at(self.place(x, 0)[0], BOTTOM + 22, text, SOFT, "middle") for x, text in x_ticks.items()]


def frame(title: str, note: str, below: float = 0) -> list[str]:
    """The opening of a picture, with its title and what it is of; `below` is room for more under the panels."""
    height = HEIGHT + below
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONT}" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height:g}" rx="14" fill="#ffffff"/>',
        text_at(24, 38, title, INK, size=20, weight=600),
        text_at(24, 62, note, SOFT),
    ]


def spread(heights: list[float], gap: float, top: float, bottom: float) -> list[float]:
    """Heights moved as little as keeps them `gap` apart and, where there is room, between top and bottom."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = dict(enumerate(heights))
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + gap)
    limit = bottom
    for i in reversed(order):
        moved[i] = max(min(moved[i], limit), top)
        limit = moved[i] - gap
    return [moved[i] for i in range(len(heights))]


def box_at(x: float, y: float, width: float) -> Box:
    """The box of a label of this width, centred at x and y."""
    return x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2


def free_spot(at: tuple[float, float], width: float, *taken: list[Box]) -> tuple[float, float]:
    """Centre of the nearest place beside a point of the right panel where a label of this width covers nothing taken.

    Where no place is free of the first list's boxes, one that is free of the next list's.
    """
    aside = width / 2 + 14
    shifts = [(-aside, 0), (aside, 0), (0, -18), (0, 18)]
    shifts += [(dx, dy) for dy in (-12, 12, -24, 24, -36, 36) for dx in (-aside, aside)]
    spots = [(at[0] + dx, at[1] + dy) for dx, dy in shifts]
    free = (spot for boxes in taken for spot in spots if _is_free(box_at(*spot, width), boxes))
    return next(free, spots[0])


def _is_free(box: Box, taken: list[Box]) -> bool:
    """Whether a box lies in the right panel and covers nothing."""
    clear = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken)
    return clear and box[0] > RIGHT[0] and box[2] < WIDTH - 12 and box[3] < BOTTOM


def text_at(x: float, y: float, text: str, fill: str, anchor: str = "start", size: int = 13, weight: int = 400) -> str:
    """A text element, with a white halo that keeps it readable on lines."""
    halo = 'stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'
    style = f'fill="{fill}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" {halo}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
