"""Studies side by side: their scores under the attack that they share, and where their recipes differ."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from undo.report import figures, style
from undo.report.numbers import percent, plain
from undo.report.results import Results, scored
from undo.report.tables import NOTHING, Cell, Line, Table, cell
from undo.spec.errors import UserError
from undo.study.artifacts import write_atomically
from undo.study.rows import Score


@dataclass(frozen=True)
class Comparison:
    """What is shown: the models of all studies at the largest budget that all of them have."""

    title: str
    studies: list[Results]
    attack: str
    budget: int
    scores: Table
    differences: Table


def compare(studies: list[Results]) -> Comparison:
    """Raises UserError where the studies have no attack, or no budget of it, in common."""
    names = [study.study for study in studies]
    attack = next((a for a in studies[0].attacks() if all(a in study.attacks() for study in studies)), None)
    if attack is None:
        raise UserError(f"{', '.join(names)} have no attack in common, so there is nothing to compare")
    shared = set.intersection(*(set(study.budgets(attack)) for study in studies))
    if not shared:
        raise UserError(f"{', '.join(names)} have no budget of {attack} in common, so there is nothing to compare")
    budget = max(shared)
    scores, differences = _scores(studies, attack, budget), _differences(studies)
    return Comparison(" and ".join(names), studies, attack, budget, scores, differences)


def _scores(studies: list[Results], attack: str, budget: int) -> Table:
    scored = [study.scores_at(attack, budget) for study in studies]
    columns = [
        (f"{study.study}: {what}", unit)
        for study in studies
        for what, unit in (
            ("recovery", study.describe_metric("forget")),
            ("relative robustness", ""),
            ("relative compute", ""),
        )
    ]
    models = dict.fromkeys(id for scores in scored for id in scores)
    lines = [
        Line(id, [one for study, of in zip(studies, scored, strict=True) for one in _cells(study, of.get(id))])
        for id in models
    ]
    return Table(
        f"After {budget:,} steps of {attack}: worst case, mean ± half the 95 % interval", "model", columns, lines
    )


def _cells(study: Results, score: Score | None) -> list[Cell]:
    if score is None:
        return [NOTHING] * 3
    return [
        cell(scored(score, "recovery"), study.form_of("forget")),
        cell(scored(score, "relative_robustness"), plain),
        cell(scored(score, "relative_compute"), percent),
    ]


def _differences(studies: list[Results]) -> Table:
    """Every setting in which the recipes differ, beside their names."""
    flat = [_flat({k: v for k, v in study.recipe.items() if k not in ("name", "summary")}) for study in studies]
    settings = [
        key for key in dict.fromkeys(key for of in flat for key in of) if len({str(of.get(key)) for of in flat}) > 1
    ]
    lines = [Line(key, [Cell(str(of.get(key, "–"))) for of in flat]) for key in settings]
    return Table("Where the recipes differ", "setting", [(study.study, "") for study in studies], lines)


def _flat(settings: Any, path: str = "") -> dict[str, Any]:
    """`{"distil.stop.max_gap": 0.05}`; lists of more than numbers and words by their places."""
    nested = isinstance(settings, dict) or any(isinstance(each, dict | list) for each in _listed(settings))
    if nested and settings:
        pairs = settings.items() if isinstance(settings, dict) else enumerate(settings)
        found = [_flat(value, f"{path}.{key}" if path else str(key)) for key, value in pairs]
        return {key: value for each in found for key, value in each.items()}
    return {path: settings}


def _listed(settings: Any) -> list[Any]:
    return settings if isinstance(settings, list) else []


def panels(comparison: Comparison) -> dict[str, dict[str, go.Figure]]:
    """F3 and F2 over studies: what comes back to each one's models, and how its students matched an oracle."""
    found: dict[str, dict[str, go.Figure]] = {"relearning": {}, "matching": {}}
    for study in comparison.studies:
        drawn = figures.relearning_panels(study, comparison.attack), figures.matching_panels(study, comparison.attack)
        for kind, of in zip(found, drawn, strict=True):
            found[kind] |= {f"{study.study}: {title}": figure for title, figure in of.items()}
    return found


def comparison_figure(comparison: Comparison) -> go.Figure | None:
    """F4 with a colour per study; None where relative robustness is defined nowhere."""
    traces = []
    for study, shade in zip(comparison.studies, style.PALETTE * len(comparison.studies), strict=False):
        scores = study.scores_at(comparison.attack, comparison.budget).values()
        placed = [s for s in scores if s.relative_robustness is not None and s.relative_compute is not None]
        robust, compute = ([scored(s, f"relative_{what}") for s in placed] for what in ("robustness", "compute"))
        if placed:
            traces.append(_points(study, placed, compute, robust, shade))
    titles = "relative compute: FLOPs of suppress + distil / FLOPs of pretraining the oracle", "relative robustness"
    if not traces:
        return None
    return style.new_figure(traces, *titles).update_xaxes(tickformat=".0%", rangemode="tozero")


def _points(study: Results, scores: list[Score], compute: list, robust: list, shade: str) -> go.Scatter:
    return go.Scatter(
        x=[e.mean for e in compute],
        y=[e.mean for e in robust],
        error_x=style.error(compute, shade),
        error_y=style.error(robust, shade),
        mode="markers",
        name=escape(study.study),
        marker={"size": 10, "color": shade, "symbol": [_symbol(study, score.model) for score in scores]},
        text=[escape(score.model) for score in scores],
        hovertemplate="<b>%{text}</b>: robustness %{y:.3f} at %{x:.0%}<extra></extra>",
    )


def _symbol(study: Results, model: str) -> str:
    return "circle" if study.reached_stop_rule(model) else style.MISSED


def write_comparison(comparison: Comparison, target: Path) -> None:
    """Writes the comparison as one self-contained page."""
    from undo.report.page import asset, plotly, shown, template

    figure = comparison_figure(comparison)
    drawn = [] if figure is None else [shown("headline", "headline", "Robustness over compute", figure)]
    for kind, of in panels(comparison).items():
        drawn += [shown(f"{kind}-{i}", kind, title, each) for i, (title, each) in enumerate(of.items())]
    page = template("compare.html").render(
        comparison=comparison,
        figures=drawn,
        plots={each["id"]: each["plot"] for each in drawn},
        plotly=plotly(),
        css=asset("page.css"),
        js=asset("page.js"),
    )
    write_atomically(target, page)
