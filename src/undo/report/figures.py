"""results.json to plotly figures. Colour says what a model is, the marker which method is behind it."""

from html import escape
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go

from undo.report import rows as r
from undo.report import style

Results = r.Results
TEXT_SIDES = ("top left", "bottom right", "bottom left")  # beside the error bars


def headline(results: Results) -> go.Figure | None:
    """F4 of the first attack: what robustness costs; None where it is nowhere defined."""
    found = r.attacks(results)
    figure = robustness_over_compute(results, found[0]) if found else None
    return figure.update_layout(template="plotly_white") if figure else None


def robustness_over_compute(results: Results, attack: str) -> go.Figure | None:
    """F4: relative robustness over relative compute at the attack's largest budget, a point per model."""
    scores = r.last_scores(results, attack)
    firsts = {id: rows[0] for id, rows in r.by_id(results).items()}
    shown = [score for score in scores.values() if _placed(score)]
    if not any(firsts[score["model"]]["role"] != "oracle" for score in shown):
        return None
    methods = style.methods(results)
    traces = [_robust_point(results, firsts[score["model"]], score, methods) for score in shown]
    figure = style.new_figure(
        [*_alpha_paths(results, scores), *traces, *_legend(results)],
        "relative compute: FLOPs of suppress + distil / FLOPs of pretraining the oracle",
        "relative robustness",
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero").update_yaxes(range=_robust_range(shown))
    for height, side, where, name in ((0, "right", "top", "suppressed"), (1, "left", "bottom", "oracle")):
        figure.add_hline(height, line={"dash": "dot", "width": 1.5, "color": style.COLOURS["base"]}, layer="below")
        end = {"x": float(side == "right"), "xref": "paper", "xanchor": side, "yanchor": where}
        figure.add_annotation(y=height, text=name, showarrow=False, **end)
    return figure


def _placed(score: r.Row) -> bool:
    """Whether a score has both coordinates."""
    return score["relative_robustness"] is not None and score["relative_compute"] is not None


def _robust_point(results: Results, row: r.Row, score: r.Row, methods: dict[str, str]) -> go.Scatter:
    robust, compute = r.scored(score, "relative_robustness"), r.scored(score, "relative_compute")
    recovery = r.scored(score, "recovery").text(r.form_of(results, "forget"))
    lines = [f"relative robustness {robust.text(r.plain)}", f"relative compute {compute.text(r.percent)}"]
    text = "<br>".join([f"<b>{escape(row['id'])}</b>", *lines, f"recovery {recovery}", style.seeds(robust.n)])
    alpha = row["noise_alpha"]
    return go.Scatter(
        x=[compute.mean],
        y=[robust.mean],
        error_x=style.error([compute], style.colour(row)),
        error_y=style.error([robust], style.colour(row)),
        mode="markers" if alpha is None else "markers+text",
        text=[None if alpha is None else f"{alpha:g}"],
        textposition=TEXT_SIDES[list(methods).index(row["method"]) % len(TEXT_SIDES)] if row["method"] else None,
        marker=style.marker(results, row, methods),
        showlegend=False,
        hovertemplate=f"{text}<extra></extra>",
    )


def _alpha_paths(results: Results, scores: dict[str, r.Row]) -> list[go.Scatter]:
    """A thin line through one teacher's noised students, by rising alpha."""
    paths = []
    for teacher in r.of_role(results, "teacher"):
        noised = [row for row in r.students_of(results, teacher["id"]) if row["noise_alpha"] is not None]
        on_path = [scores[row["id"]] for row in noised if row["id"] in scores]
        known = [score for score in on_path if _placed(score)]
        x, y = [s["relative_compute"] for s in known], [s["relative_robustness"] for s in known]
        line = {"color": style.COLOURS["base"], "width": 1}
        paths.append(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False))
    return paths


def _robust_range(scores: list[r.Row]) -> list[float]:
    """All points, and the intervals as far as they lie near the two references: two seeds can give endless ones."""
    points = [score["relative_robustness"] for score in scores]
    ends = [end for score in scores for end in score.get("relative_robustness_ci") or () if end is not None]
    low, high = max(min([*ends, 0]), -0.5), min(max([*ends, 1]), 1.5)
    return [min(*points, low, 0) - 0.12, max(*points, high, 1) + 0.12]


def relearning_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F3, a panel per method: suppressed, its students (of the noised ones the strongest), oracle and base."""
    panels = {}
    for teacher in r.named_teachers(results):
        students = r.students_of(results, teacher["id"])
        noised = [row for row in students if row["noise_alpha"] is not None]
        shown = noised[-1:] + [row for row in students if row["noise_alpha"] is None]
        panels[teacher["id"]] = _relearning(results, attack, [teacher, *shown, *r.of_roles(results, "oracle", "base")])
    return _alike(panels)


def _alike(panels: dict[str, go.Figure]) -> dict[str, go.Figure]:
    """Room below all panels for the longest legend among them, two entries a line, so that plots are equally high."""
    traces = [panel.to_plotly_json()["data"] for panel in panels.values()]
    entries = max((sum(trace.get("showlegend", True) for trace in of) for of in traces), default=0)
    below = 84 + 21 * -(-entries // 2)
    for panel in panels.values():
        panel.update_layout(height=300 + below, margin_b=below)
    return panels


def matching_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F2: students that learnt from the oracle, how close they came to it and how fast they relearn."""
    students = [row for row in r.of_role(results, "student") if row.get("teacher") == "oracle"]
    if not students:
        return {}
    return {
        "Distance to the oracle": _distances(results, students),
        "Relearning": _relearning(results, attack, [*students, *r.of_roles(results, "oracle", "base")]),
    }


def _distances(results: Results, students: list[r.Row]) -> go.Figure:
    """Distillation loss by step, mean over seeds."""
    traces = []
    for row in students:
        losses: dict[int, list[float]] = {}
        for each in r.by_id(results)[row["id"]]:
            for step, loss in each["distil"]["losses"]:
                losses.setdefault(step, []).append(loss)
        points = [(step, r.estimate(of)) for step, of in sorted(losses.items())]
        traces.append(
            go.Scatter(
                x=[step for step, _ in points],
                y=[e.mean for _, e in points],
                name=escape(r.label(row)),
                mode="lines",
                line={"color": style.colour(row), "width": 2.2},
            )
        )
    figure = style.new_figure(traces, "distillation step", "KL(oracle || student) on the stream (nats per token)")
    return figure.update_layout(height=430).update_yaxes(type="log", dtick="D2")


def signal_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F8: what a teacher's distributions still hold of the forget skill, and what comes back to its fresh student."""
    scores = r.last_scores(results, attack)
    pairs = [(row, scores.get(r.fresh_student(results, row["id"]) or "")) for row in r.of_role(results, "teacher")]
    known = [(row, score) for row, score in pairs if score and row.get("forget_signal") is not None]
    if len(known) < 2:
        return {}
    methods = style.methods(results)
    traces = [_signal_point(results, row, score, methods) for row, score in known]
    figure = style.new_figure(
        traces, "signal left in the teacher on forget text (nats per token)", _recovery_title(results)
    )
    return {"Signal left in the teacher": style.by_unit(figure.update_layout(height=430), results, "y", "forget")}


def label_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F7: what comes back, and what was kept before, over the share of labels that suppression saw.

    For teachers and each kind of student; a model that kept nothing relearns nothing soon, so neither stands alone.
    """
    scores = r.last_scores(results, attack)
    lines = _label_lines(results, scores)
    if not lines:
        return {}
    recovered = {id: r.scored(score, "recovery") for id, score in scores.items()}
    kept = {id: r.mean_of(rows, "retain") for id, rows in r.by_id(results).items()}
    return {
        "What comes back": _label_figure(results, lines, recovered, "recovery", "forget"),
        "What was kept": _label_figure(results, lines, kept, "retain before", "retain"),
    }


class _LabelLine(NamedTuple):
    """Models of one kind and their shares of labels, in per cent."""

    name: str
    shares: dict[str, float]
    look: dict[str, str]


def _label_lines(results: Results, scores: dict[str, r.Row]) -> list[_LabelLine]:
    """Attacked teachers, and each kind of student; those that read texts themselves are dotted or dashed."""
    made, first, lines = r.settings_of(results), {id: rows[0] for id, rows in r.by_id(results).items()}, []
    for method, shares in _label_families(results).items():
        kinds = dict.fromkeys(row["id"].removesuffix(name) for name in shares for row in r.students_of(results, name))
        dashes = cycle(("dot", "dash", "dashdot"))
        for kind in ("", *kinds):
            share_of = {f"{kind}{name}": share for name, share in shares.items() if f"{kind}{name}" in scores}
            if share_of:
                called = f"{kind.removesuffix('-')} student" if kind else "suppressed"
                id = next(iter(share_of))
                filtered = id in made and made[id].filter_share is not None
                look = {"color": style.colour(first[id]), "dash": next(dashes) if filtered else "solid"}
                lines.append(_LabelLine(f"{called}{method}", share_of, look))
    return lines


def _label_families(results: Results) -> dict[str, dict[str, float]]:
    """By method: teachers with right labels and their shares of labels in per cent, rising, if these differ.

    A family's name is a suffix: empty where there is only one, else the method's.
    """
    families: dict[str, dict[str, float]] = {}
    for name, knobs in (results["recipe"].get("suppress") or {}).items():
        if r.right_labels(knobs):
            families.setdefault(knobs["method"]["name"], {})[name] = 100 * knobs.get("label_share", 1.0)
    several = {name: of for name, of in families.items() if len(set(of.values())) > 1}
    return {
        f" ({name})" if len(several) > 1 else "": dict(sorted(of.items(), key=lambda item: item[1]))
        for name, of in several.items()
    }


def _label_figure(
    results: Results, lines: list[_LabelLine], values: dict[str, r.Estimate], what: str, metric: str
) -> go.Figure:
    traces = [_label_trace(line, [values[id] for id in line.shares], r.form_of(results, metric)) for line in lines]
    title = f"{what} ({escape(r.describe_metric(results, metric))})"
    figure = style.new_figure(traces, "labelled rows (% of all)", title)
    figure.update_layout(height=430).update_xaxes(type="log")
    return style.by_unit(figure, results, "y", metric)


def _label_trace(line: _LabelLine, found: list[r.Estimate], form: r.Format) -> go.Scatter:
    return go.Scatter(
        x=list(line.shares.values()),
        y=[e.mean for e in found],
        error_y=style.error(found, style.faint(line.look["color"], 0.6)),
        name=line.name,
        mode="lines+markers",
        line={"width": 2.2, **line.look},
        customdata=[
            f"{escape(id)}<br>{e.text(form)}<br>{style.seeds(e.n)}" for id, e in zip(line.shares, found, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _recovery_title(results: Results) -> str:
    return f"recovery of its fresh student ({escape(r.describe_metric(results, 'forget'))})"


def _signal_point(results: Results, row: r.Row, score: r.Row, methods: dict[str, str]) -> go.Scatter:
    signal = r.mean_of(r.by_id(results)[row["id"]], "forget_signal")
    recovery = r.scored(score, "recovery")
    texts = [f"signal {signal.text(r.plain)}", f"recovery {recovery.text(r.form_of(results, 'forget'))}"]
    return go.Scatter(
        x=[signal.mean],
        y=[recovery.mean],
        error_x=style.error([signal], style.faint(style.colour(row), 0.6)),
        error_y=style.error([recovery], style.faint(style.colour(row), 0.6)),
        mode="markers+text",
        text=[escape(row["id"])],
        textposition="top center",
        marker=style.marker(results, row, methods),
        showlegend=False,
        hovertemplate=f"<b>{escape(row['id'])}</b><br>{'<br>'.join(texts)}<br>{style.seeds(signal.n)}<extra></extra>",
    )


def alpha_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F4 as curves: the noised students of each teacher, between suppressed, fresh student and oracle."""
    panels = {}
    for teacher in r.of_role(results, "teacher"):
        students = r.students_of(results, teacher["id"])
        if any(row["noise_alpha"] is not None for row in students):
            shown = [row for row in students if row["student_init"] in ("noised", "fresh")]
            panels[teacher["id"]] = _relearning(results, attack, [teacher, *shown, *r.of_roles(results, "oracle")])
    return panels


def _relearning(results: Results, attack: str, models: list[r.Row]) -> go.Figure:
    traces = [trace for i, row in enumerate(models) for trace in _curve(results, attack, row, style.SYMBOLS[i % 6])]
    figure = style.new_figure(traces, _step_title(results, attack), style.metric_title(results, "forget"))
    of = [point for row in models for point in r.envelope(results, attack, row["id"])]
    shown = _loss_range([end for step, e in of if step for end in (e.mean, e.low, e.high)])
    return style.by_unit(figure.update_layout(height=430).update_yaxes(range=shown), results, "y", "forget")


def _loss_range(attacked: list[float | None]) -> list[float] | None:
    """A y axis for losses under attack; before it, that of a model that never learnt the skill is far above."""
    known = [value for value in attacked if value is not None]
    if not known:
        return None
    room = 0.06 * (max(known) - min(known)) + 0.01
    return [min(known) - room, max(known) + room]


def _curve(results: Results, attack: str, row: r.Row, symbol: str) -> list[go.Scatter]:
    points = r.envelope(results, attack, row["id"])
    steps, form, seen = [step for step, _ in points], r.form_of(results, "forget"), _tokens_by_step(results, attack)
    texts = [f"{e.text(form)}<br>{r.large(seen[step])} forget tokens, {style.seeds(e.n)}" for step, e in points]
    line = go.Scatter(
        x=steps,
        y=[e.mean for _, e in points],
        name=escape(r.label(row)),
        legendgroup=row["id"],
        mode="lines+markers",
        line={"color": style.colour(row), "width": 2.2, "dash": "dot" if row["role"] == "base" else "solid"},
        marker={"symbol": symbol, "size": 6},
        customdata=texts,
        hovertemplate=f"<b>{escape(row['id'])}</b>, step %{{x:,}}: %{{customdata}}<extra></extra>",
    )
    return [*_band(row, points), line]


def _band(row: r.Row, points: list[tuple[int, r.Estimate]]) -> list[go.Scatter]:
    known = [(step, e) for step, e in points if e.low is not None]
    if not known:
        return []
    steps = [step for step, _ in known]
    edge = [e.high for _, e in known] + [e.low for _, e in reversed(known)]
    band = {"fill": "toself", "fillcolor": style.faint(style.colour(row)), "line": {"width": 0}, "mode": "lines"}
    return [
        go.Scatter(x=steps + steps[::-1], y=edge, **band, legendgroup=row["id"], showlegend=False, hoverinfo="skip")
    ]


def relearning_axes(results: Results, attack: str, skill: str = "forget") -> go.Figure:
    """A relearning figure without its lines, for a page that draws them itself."""
    figure = style.new_figure([], _step_title(results, attack), style.metric_title(results, skill)).update_layout(
        height=460
    )
    return style.by_unit(figure, results, "y", skill)


def _legend(results: Results) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=[None], y=[None], mode="markers", name=escape(mark.name),
            marker={"size": 10, "color": mark.colour, "symbol": mark.symbol},
        )
        for mark in style.key(results)
    ]  # fmt: skip


def _step_title(results: Results, attack: str) -> str:
    step, tokens = max(_tokens_by_step(results, attack).items())
    return f"attack step ({step:,} steps: {r.large(tokens)} forget tokens)"


def _tokens_by_step(results: Results, attack: str) -> dict[int, int]:
    """Most forget tokens that any run of the attack had seen by a step."""
    seen: dict[int, int] = {}
    for point in (p for c in results["curves"] if c["attack"] == attack for p in c["points"]):
        seen[point["step"]] = max(seen.get(point["step"], 0), point["forget_tokens"])
    return seen
