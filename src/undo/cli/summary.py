"""The table at the end of a run."""

from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from undo.study.results import mean_by_model


def print_summary(results: dict[str, Any]) -> None:
    """For the largest budget of every attack: what came back, what was kept, robustness and compute."""
    console = Console(width=None if Console().is_terminal else 110)
    for attack in dict.fromkeys(row["attack"] for row in results["scores"]):
        rows = [row for row in results["scores"] if row["attack"] == attack]
        budget = max(row["budget"] for row in rows)
        console.print(_table(results, attack, [row for row in rows if row["budget"] == budget], budget))


def _table(results: dict[str, Any], attack: str, rows: list[dict[str, Any]], budget: int) -> Table:
    forget, variants = results["metrics"]["forget"], _variants(results, attack)
    title = (
        f"After {budget} steps of {attack} (worst of {variants} variants, {forget['n_items']} forget items, "
        f"{rows[0]['n_seeds']} seed{'s' * (rows[0]['n_seeds'] > 1)}; before = without attack)"
    )
    before, retain = mean_by_model(results, "forget"), mean_by_model(results, "retain")
    gaps = _gaps(results)
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for column in ("forget after", "before", "retain before", "gap", "specific", "robustness", "compute"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row["model"],
            score(row["recovery"], forget["unit"]),
            score(before[row["model"]], forget["unit"]),
            score(retain[row["model"]], results["metrics"]["retain"]["unit"]),
            points(gaps.get(row["model"]), results["metrics"]["retain"]["unit"]),
            _number(row["specific_recovery"]),
            _number(row["relative_robustness"]),
            percent(row["relative_compute"]),
        )
    return table


def _gaps(results: dict[str, Any]) -> dict[str, float]:
    """Mean over seeds of the retain gap at which distillation stopped, validation split, by student."""
    gaps: dict[str, list[float]] = {}
    for row in results["models"]:
        if row["role"] == "student" and row["distil"]["gap"] is not None:
            gaps.setdefault(row["id"], []).append(row["distil"]["gap"])
    return {id: fmean(of) for id, of in gaps.items()}


def _variants(results: dict[str, Any], attack: str) -> int:
    return len({str(curve["variant"]) for curve in results["curves"] if curve["attack"] == attack})


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
