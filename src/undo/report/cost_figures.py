"""Figures with a line per model: costs, and specific recovery."""

from html import escape

import plotly.graph_objects as go

from undo.report import style
from undo.report.numbers import Estimate, percent
from undo.report.results import Results, scored
from undo.study.rows import ModelRow

COSTS = {"suppression": "#E69F00", "distillation": "#0072B2", "teacher's kept outputs": "#56B4E9"}


def cost_bars(results: Results) -> go.Figure | None:
    """Training FLOPs of every teacher and student, by what they went into, against the oracle's pretraining."""
    oracle = results.mean("oracle", "flops").mean
    made = {id: rows for id, rows in results.by_id.items() if rows[0].role in ("teacher", "student")}
    if not oracle or not made:
        return None
    parts = {id: _cost_parts(results, rows) for id, rows in made.items()}
    costs = {name: shade for name, shade in COSTS.items() if any(part[name] for part in parts.values())}
    traces = [
        go.Bar(
            x=[parts[id][name] / oracle for id in parts],
            y=[escape(id) for id in parts],
            orientation="h",
            name=name,
            marker={"color": shade},
            hovertemplate=f"<b>%{{y}}</b> {name}: %{{x:.1%}}<extra></extra>",
        )
        for name, shade in costs.items()
    ]
    figure = style.new_figure(traces, "training FLOPs (% of the oracle's pretraining)", "")
    figure.update_layout(height=150 + 24 * len(parts), barmode="stack", legend_traceorder="normal").update_xaxes(
        tickformat=".0%"
    )
    figure.add_vline(1, line={"dash": "dot", "width": 1.5, "color": style.COLOURS["oracle"]})
    return figure.update_yaxes(autorange="reversed", type="category")


def _cost_parts(results: Results, rows: list[ModelRow]) -> dict[str, float]:
    """Mean FLOPs over seeds of a model's suppression, of its own training, and of the rest, its teacher's outputs."""
    own_of = {f"artifacts/{stage.id}": stage.ledger.get("flops", 0) for stage in results.stages}
    suppressed = {(row.id, row.seed): row.flops for row in results.models if row.role == "teacher"}
    found = []
    for row in rows:
        if row.role == "teacher":
            found.append((row.flops, 0.0, 0.0))
            continue
        before = sum(suppressed.get((teacher, row.seed), 0.0) for teacher in _teachers(row))
        own = own_of.get(row.artifact, 0.0)
        found.append((before, own, max(0.0, row.flops - before - own)))
    return dict(zip(COSTS, (sum(values) / len(found) for values in zip(*found, strict=True)), strict=True))


def _teachers(row: ModelRow) -> list[str]:
    """A student's own teacher, and those that teach with it."""
    return [row.teacher or "", *row.setting("with_teachers", ())]


def specific_recovery(results: Results, attack: str) -> go.Figure | None:
    """Recovery of the forget skill minus that of the neutral one, by model; None where neutral was not attacked."""
    scores = results.last_scores(attack)
    known = {id for id, score in scores.items() if score.specific_recovery is not None}
    rows = [row for id, row in results.first.items() if id in known]
    if not rows:
        return None
    found = [scored(scores[row.id], "specific_recovery") for row in rows]
    form = results.form_of("forget")
    bars = go.Scatter(
        x=[e.mean for e in found],
        y=[escape(row.id) for row in rows],
        error_x=style.error(found, style.COLOURS["base"]),
        mode="markers",
        marker={"size": 11, "color": [style.colour(row) for row in rows]},
        showlegend=False,
        customdata=[f"{e.text(form)}<br>{style.seeds(e.n)}" for e in found],
        hovertemplate="<b>%{y}</b> %{customdata}<extra></extra>",
    )
    title = f"specific recovery: forget - neutral ({results.metrics['forget'].n_items:,} forget items)"
    figure = style.new_figure([bars], title, "").update_layout(height=110 + 27 * len(rows))
    figure.add_vline(0, line={"dash": "dot", "width": 1.5, "color": style.COLOURS["base"]}, layer="below")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_xaxes(tickformat=".0%" if form is percent else None, range=_signed_range(found))


def _signed_range(found: list[Estimate]) -> list[float]:
    """Zero, the means, and the intervals as far as they stay within twice the widest mean."""
    far = 2 * max(abs(e.mean or 0.0) for e in found) + 0.05
    ends = [end for e in found for end in (0.0, e.mean, e.low, e.high) if end is not None]
    return [max(min(ends), -far) - 0.02, min(max(ends), far) + 0.02]
