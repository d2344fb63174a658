"""What a study found, for the terminal."""

import textwrap
from statistics import fmean

from rich.console import Console
from rich.table import Table

from undo.given.certificate import Certificate
from undo.report.card import attack_rows
from undo.report.narrative import caveats
from undo.report.results import Results
from undo.report.tables import benchmarks_table
from undo.study.rows import Benchmark

BARS = "▁▂▃▄▅▆▇█"
NAME = 40  # columns of a model's name; students with many settings of their own take more lines, not more columns


def print_summary(results: Results) -> None:
    """Per attack a table at its largest budget: what came back and how, what was kept, robustness, compute. Caveats."""
    console = _console()
    for attack in dict.fromkeys(row.attack for row in results.scores):
        console.print(_table(results, attack, results.budgets(attack)[-1]))
    print_benchmarks(results.benchmarks)
    for caveat in caveats(results):
        print(f"note: {caveat}")


def print_benchmarks(rows: list[Benchmark]) -> None:
    """A table of what lm-eval found, a line per task and a column per model; nothing where nothing was asked."""
    if not rows:
        return
    shown = benchmarks_table(rows)
    table = Table(title=shown.caption, title_justify="left")
    table.add_column(shown.first)
    for title, unit in shown.columns:
        table.add_column(f"{title} {unit}".strip(), justify="right")
    for line in shown.lines:
        table.add_row(line.name, *(f"{cell.text} {cell.spread}".strip() for cell in line.cells))
    _console().print(table)


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 150)


def _table(results: Results, attack: str, budget: int) -> Table:
    rows = list(results.scores_at(attack, budget).values())
    forget, variants = results.metrics["forget"], len(results.variants(attack))
    title = (
        f"After {budget} steps of {attack} (worst of {variants} variants, {forget.n_items} forget items, "
        f"{rows[0].n_seeds} seed{'s' * (rows[0].n_seeds > 1)}; before = without attack)"
    )
    gaps, sparks = _gaps(results), _sparks(results, attack, [row.model for row in rows])
    table = Table(title=title, title_justify="left")
    table.add_column("model", min_width=min(NAME, max(len(row.model) for row in rows)), no_wrap=True)
    for column in ("forget after", "before", "retain before", "gap", "specific", "robustness", "compute", "relearning"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            "\n".join(textwrap.wrap(row.model, NAME)),
            score(row.recovery, forget.unit),
            score(results.mean(row.model, "forget").mean, forget.unit),
            score(results.mean(row.model, "retain").mean, results.metrics["retain"].unit),
            points(gaps.get(row.model), results.metrics["retain"].unit),
            _number(row.specific_recovery),
            _number(row.relative_robustness),
            percent(row.relative_compute),
            sparks[row.model],
        )
    return table


def _sparks(results: Results, attack: str, models: list[str]) -> dict[str, str]:
    """The worst case by step, a bar per point: from 0 to 1 for shares, for losses within those of attacked models."""
    curves = {model: [e.mean or 0.0 for _, e in results.envelope(attack, model)] for model in models}
    values = [value for curve in curves.values() for value in curve[1:] or curve]  # an attack need not have steps
    low, high = (0.0, 1.0) if results.metrics["forget"].unit == "fraction" else (min(values), max(values))

    def bar(value: float) -> str:
        return BARS[max(0, min(len(BARS) - 1, int(len(BARS) * (value - low) / ((high - low) or 1))))]

    return {model: "".join(map(bar, curve)) for model, curve in curves.items()}


def _gaps(results: Results) -> dict[str, float]:
    """Mean over seeds of the retain gap at which distillation stopped, validation split, by student."""
    gaps: dict[str, list[float]] = {}
    for row in results.models:
        if row.role == "student" and row.distil:
            gaps.setdefault(row.id, []).append(row.distil.gap)
    return {id: fmean(of) for id, of in gaps.items()}


def percent(value: float | None) -> str:
    """A share for people."""
    return "-" if value is None else f"{100 * value:.0f} %"


def score(value: float | None, unit: str) -> str:
    """A metric for people: shares as per cent, all else as it is."""
    return percent(value) if unit == "fraction" else _number(value)


def points(value: float | None, unit: str) -> str:
    """A gap: percentage points between shares, per cent of the goal between losses."""
    return "-" if value is None else f"{100 * value:.1f} {'pt' if unit == 'fraction' else '%'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def print_verdict(certificate: Certificate) -> None:
    """The verdict, headline first, and what else a reader must know."""
    print(certificate.verdict)
    for warning in certificate.warnings:
        print(f"warning: {warning}")


def print_attacks(certificate: Certificate, suppressed: Certificate) -> None:
    """The worst of every attack on a model that was made to forget, beside its teacher."""
    table = Table(title=f"Worst of every attack, {certificate.metric['unit']}", title_justify="left")
    for column in ("attack", "suppressed only", "recovered", "this model", "recovered"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    for row in attack_rows(certificate, suppressed):
        table.add_row(*(cell.strip("`") for cell in row))
    Console(width=None if Console().is_terminal else 150).print(table)
