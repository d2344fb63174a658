"""F5 and F6: what a model keeps, over what came back or is left."""

from html import escape

import plotly.graph_objects as go

from undo.report import rows as r
from undo.report import style

Results = r.Results


def pareto_panels(results: Results, attack: str) -> dict[int, go.Figure]:
    """F5 before the attack and at each budget: retain over forget, a point per model."""
    budgets = r.budgets(results, attack)
    if not budgets:
        return {}
    rows = [of[0] for id, of in r.by_id(results).items() if r.curves_of(results, attack, id)]
    points = {step: [r.kept(results, attack, row["id"], step) for row in rows] for step in (0, *budgets)}
    retained = [retain.mean for pairs in points.values() for _, retain in pairs if retain.mean is not None]
    room = 0.1 * (max(retained) - min(retained)) + 0.02
    scale = [min(retained) - room, max(retained) + room]  # one for all steps, so that points move and axes do not
    return {step: _pareto(results, rows, pairs).update_yaxes(range=scale) for step, pairs in points.items()}


def _pareto(results: Results, rows: list[r.Row], pairs: list[tuple[r.Estimate, r.Estimate]]) -> go.Figure:
    methods = style.methods(results)
    points = [_pareto_point(results, row, *pair, methods) for row, pair in zip(rows, pairs, strict=True)]
    titles = (style.metric_title(results, metric) for metric in ("forget", "retain"))
    figure = style.new_figure(points, *titles).update_layout(height=400)
    return style.by_unit(style.by_unit(figure, results, "x", "forget"), results, "y", "retain")


def _pareto_point(
    results: Results, row: r.Row, forget: r.Estimate, retain: r.Estimate, methods: dict[str, str]
) -> go.Scatter:
    texts = [f"{name} {e.text(r.form_of(results, name))}" for name, e in (("forget", forget), ("retain", retain))]
    return go.Scatter(
        x=[forget.mean],
        y=[retain.mean],
        error_x=style.error([forget], style.faint(style.colour(row), 0.6)),
        error_y=style.error([retain], style.faint(style.colour(row), 0.6)),
        mode="markers",
        marker=style.marker(results, row, methods),
        showlegend=False,
        hovertemplate=f"<b>{escape(row['id'])}</b><br>{'<br>'.join(texts)}<br>{style.seeds(forget.n)}<extra></extra>",
    )


def settings_pareto(results: Results) -> go.Figure | None:
    """F5 before any attack, for a search: retain over forget, a point per setting of a method, beside the base."""
    teachers = r.of_role(results, "teacher")
    if not teachers:
        return None
    by_method: dict[str, list[r.Row]] = {}
    for row in (*r.of_roles(results, "base", "oracle"), *teachers):
        by_method.setdefault(row["method"] or row["role"], []).append(row)
    traces = [_settings(results, name, rows, i) for i, (name, rows) in enumerate(by_method.items())]
    titles = (style.metric_title(results, metric) for metric in ("forget", "retain"))
    figure = style.new_figure(traces, *titles).update_layout(height=520)
    return style.by_unit(style.by_unit(figure, results, "x", "forget"), results, "y", "retain")


def _settings(results: Results, name: str, rows: list[r.Row], i: int) -> go.Scatter:
    """The settings of a method; more methods than colours differ by their marker."""
    groups = r.by_id(results)
    forget, retain = ([r.mean_of(groups[row["id"]], metric) for row in rows] for metric in ("forget", "retain"))
    forms = [r.form_of(results, metric) for metric in ("forget", "retain")]
    shade = style.COLOURS.get(name, style.PALETTE[i % len(style.PALETTE)])
    return go.Scatter(
        x=[e.mean for e in forget],
        y=[e.mean for e in retain],
        error_x=style.error(forget, style.faint(shade, 0.6)),
        error_y=style.error(retain, style.faint(shade, 0.6)),
        mode="markers",
        name=escape(name),
        marker={
            "size": 11,
            "color": shade,
            "symbol": style.SYMBOLS[(i + i // len(style.PALETTE)) % len(style.SYMBOLS)],
        },
        customdata=[
            f"<b>{escape(row['id'])}</b><br>forget {f.text(forms[0])}<br>retain {k.text(forms[1])}"
            for row, f, k in zip(rows, forget, retain, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
