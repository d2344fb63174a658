"""Numbers for people: means with intervals, shares, counts, times."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from undo.study.scores import mean_interval

Format = Callable[[float], str]

PERCENT = "\u00a0%"  # no line break between a number and its sign


@dataclass(frozen=True)
class Estimate:
    """Mean over `n` seeds and its 95 % interval; None where there is no value, or no interval for a single seed."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1

    def text(self, form: Format) -> str:
        """`0.68 [0.50, 0.81]`, in the given format."""
        if self.mean is None:
            return "–"
        return form(self.mean) + ("" if self.low is None else f" {self.interval(form)}")

    def interval(self, form: Format) -> str:
        """`[0.50, 0.81]`, or that there is none."""
        if self.low is None or self.high is None:
            return "(no interval)"
        return f"[{form(self.low).removesuffix(PERCENT)}, {form(self.high).removesuffix(PERCENT)}]"


def estimate(values: Iterable[float | None]) -> Estimate:
    """Over the seeds that have a value."""
    known = [value for value in values if value is not None]
    mean, low, high = mean_interval(known)
    return Estimate(mean, low, high, len(known))


def percent(value: float) -> str:
    """A share: `36.7 %`."""
    return f"{_signed(100 * value, 1)}{PERCENT}"


def plain(value: float) -> str:
    """`0.683`."""
    return _signed(value, 3)


def short(value: float) -> str:
    """`0.68`."""
    return _signed(value, 2)


def form_of_unit(unit: str) -> Format:
    """How a metric of a unit is written: fractions as per cent, all else as it is."""
    return percent if unit == "fraction" else plain


def _signed(value: float, digits: int) -> str:
    """A true minus sign, and none before what rounds to zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def large(value: float) -> str:
    """FLOPs or tokens: `5.5e+14` as `5.5e14`, small counts in full."""
    return f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.2e}".replace("e+", "e")


def seconds(value: float) -> str:
    """`4.5 s`, `12.3 min`, `3.1 h`."""
    if value < 120:
        return f"{value:.1f}\u00a0s"
    return f"{value / 60:.1f}\u00a0min" if value < 7200 else f"{value / 3600:.1f}\u00a0h"
