"""An audit's certificate as JSON, and as one self-contained page."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from undo.given.attack_result import AttackResult
from undo.given.bootstrap import Interval
from undo.given.certificate import Certificate
from undo.report.numbers import Estimate, Format, form_of_unit, percent, plain
from undo.report.page import asset, template
from undo.report.results import variant_label
from undo.report.tables import Cell, Line, Table, benchmarks_table
from undo.study.artifacts import write_atomically
from undo.study.rows import Benchmark


@dataclass(frozen=True)
class Bar:
    """The worst row of an attack in the figure, places in per cent of its width; `low` and `width` are its interval."""

    name: str
    text: str
    at: float
    low: float
    width: float
    within: bool


def write_certificate(certificate: Certificate, out: Path) -> None:
    """Writes `certificate.json` and `certificate.html`."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(certificate.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / "certificate.json", text + "\n")
    write_atomically(out / "certificate.html", render(certificate))


def render(certificate: Certificate) -> str:
    """The page's HTML."""
    asked = [Benchmark.read(row) for row in certificate.benchmarks]
    return template("certificate.html").render(
        certificate=certificate,
        details=certificate.verdict.partition("\n")[2],
        given={role: getattr(certificate, role) for role in ("model", "oracle", "before", "forget", "retain")},
        bars=bars(certificate),
        rows=attacks_table(certificate),
        benchmarks=benchmarks_table(asked) if asked else None,
        css=asset("page.css"),
    )


def bars(certificate: Certificate) -> list[Bar]:
    """A bar per attack with a recovered fraction: its worst row, within the utility constraint where there is one."""
    worst = [row for row in worst_of_attacks(certificate).values() if row.recovered_fraction is not None]
    return [_bar(row) for row in sorted(worst, key=_severity(certificate), reverse=True)]


def worst_of_attacks(certificate: Certificate) -> dict[str, AttackResult]:
    """Each attack's row with the largest recovered fraction, within the utility constraint where it has such a row."""
    worst: dict[str, AttackResult] = {}
    for row in certificate.attacks:
        worst[row.attack] = max(worst.get(row.attack, row), row, key=_severity(certificate))
    return worst


def _severity(certificate: Certificate) -> Callable[[AttackResult], tuple[bool, float, float]]:
    """Sorts rows by how bad they are: what costs too much counts less than anything that does not; recovery decides
    between equal fractions, and where there are none.
    """
    sign = 1 if certificate.metric["higher_is_better"] else -1

    def severity(row: AttackResult) -> tuple[bool, float, float]:
        fraction = -math.inf if row.recovered_fraction is None else row.recovered_fraction
        return row.within_utility and row.decides, fraction, sign * row.recovery

    return severity


def _bar(row: AttackResult) -> Bar:
    fraction = row.recovered_fraction or 0.0
    low, high = (_place(value) for value in row.recovered_fraction_interval or (fraction, fraction))
    return Bar(row.attack, percent(fraction), _place(fraction), low, high - low, row.within_utility and row.decides)


def _place(fraction: float) -> float:
    """The figure shows -20 % to 120 %; what lies outside is drawn at its edge."""
    return round(100 * (min(max(fraction, -0.2), 1.2) + 0.2) / 1.4, 2)


def attacks_table(certificate: Certificate) -> Table:
    """Every row of the certificate."""
    form = form_of_unit(certificate.metric["unit"])
    unit = "%" if certificate.metric["unit"] == "fraction" else certificate.metric["unit"]
    columns = [("budget", "steps"), ("recovery", f"forget, {unit}"), ("oracle", "same attack's best, same unit")]
    if paired := any(row.neutral is not None for row in certificate.attacks):
        columns += [("each other's answers", "same prompts"), ("specific recovery", "forget less these")]
    columns += [("recovered fraction", ""), ("retain loss", "nats per token"), ("within utility", "")]
    return Table(
        "Every attack, variant and budget", "attack", columns, [_line(row, form, paired) for row in certificate.attacks]
    )


def _line(row: AttackResult, form: Format, paired: bool) -> Line:
    swapped = [_cell(row.neutral, form), _cell(row.specific_recovery, plain, row.specific_recovery_interval)]
    cells = [
        Cell(f"{row.budget:,}", row.budget),
        _cell(row.recovery, form, row.recovery_interval),
        _cell(row.oracle, form),
        *(swapped if paired else []),
        _cell(row.recovered_fraction, percent, row.recovered_fraction_interval),
        _cell(row.retain_loss, plain),
        Cell(("yes" if row.decides else "yes, decides nothing") if row.within_utility else "no"),
    ]
    return Line(f"{row.attack} {variant_label(row.variant)}".strip(), cells)


def _cell(value: float | None, form: Format, interval: Interval = None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(form(value), value, Estimate(value, *interval).interval(form) if interval else "")
