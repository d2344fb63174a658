"""results.json to plotly figures. Colour says what a model is, the marker which method is behind it."""

from html import escape
from itertools import cycle
from typing import NamedTuple

import plotly.graph_objects as go

from undo.report import style
from undo.report.numbers import Estimate, Format, estimate, large, percent, plain
from undo.report.results import Results, label, scored
from undo.study.rows import ModelRow, Score

TEXT_SIDES = ("top left", "bottom right", "bottom left")  # beside the error bars


def headline(results: Results) -> go.Figure | None:
    """F4 of the first attack: what robustness costs; None where it is nowhere defined."""
    found = results.attacks()
    figure = robustness_over_compute(results, found[0]) if found else None
    return figure.update_layout(template="plotly_white") if figure else None


def robustness_over_compute(results: Results, attack: str) -> go.Figure | None:
    """F4: relative robustness over relative compute at the attack's largest budget, a point per model."""
    scores = results.last_scores(attack)
    shown = [score for score in scores.values() if _placed(score)]
    if not any(results.first[score.model].role != "oracle" for score in shown):
        return None
    methods = style.methods(results)
    traces = [_robust_point(results, results.first[score.model], score, methods) for score in shown]
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


def _placed(score: Score) -> bool:
    """Whether a score has both coordinates."""
    return score.relative_robustness is not None and score.relative_compute is not None


def _robust_point(results: Results, row: ModelRow, score: Score, methods: dict[str, str]) -> go.Scatter:
    robust, compute = scored(score, "relative_robustness"), scored(score, "relative_compute")
    recovery = scored(score, "recovery").text(results.form_of("forget"))
    lines = [f"relative robustness {robust.text(plain)}", f"relative compute {compute.text(percent)}"]
    text = "<br>".join([f"<b>{escape(row.id)}</b>", *lines, f"recovery {recovery}", style.seeds(robust.n)])
    alpha = row.noise_alpha
    return go.Scatter(
        x=[compute.mean],
        y=[robust.mean],
        error_x=style.error([compute], style.colour(row)),
        error_y=style.error([robust], style.colour(row)),
        mode="markers" if alpha is None else "markers+text",
        text=[None if alpha is None else f"{alpha:g}"],
        textposition=TEXT_SIDES[list(methods).index(row.method) % len(TEXT_SIDES)] if row.method else None,
        marker=style.marker(results, row, methods),
        showlegend=False,
        hovertemplate=f"{text}<extra></extra>",
    )


def _alpha_paths(results: Results, scores: dict[str, Score]) -> list[go.Scatter]:
    """A thin line through one teacher's noised students, by rising alpha."""
    paths = []
    for teacher in results.of_role("teacher"):
        noised = [row for row in results.students_of(teacher.id) if row.noise_alpha is not None]
        on_path = [scores[row.id] for row in noised if row.id in scores]
        known = [score for score in on_path if _placed(score)]
        x, y = [s.relative_compute for s in known], [s.relative_robustness for s in known]
        line = {"color": style.COLOURS["base"], "width": 1}
        paths.append(go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False))
    return paths


def _robust_range(scores: list[Score]) -> list[float]:
    """All points, and the intervals as far as they lie near the two references: two seeds can give endless ones."""
    points = [score.relative_robustness or 0.0 for score in scores]
    ends = [end for score in scores for end in score.relative_robustness_ci or () if end is not None]
    low, high = max(min([*ends, 0]), -0.5), min(max([*ends, 1]), 1.5)
    return [min(*points, low, 0) - 0.12, max(*points, high, 1) + 0.12]


def relearning_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F3, a panel per method: suppressed, its students (of the noised ones the strongest), oracle and base."""
    panels = {}
    for teacher in results.named_teachers():
        students = results.students_of(teacher.id)
        noised = [row for row in students if row.noise_alpha is not None]
        shown = noised[-1:] + [row for row in students if row.noise_alpha is None]
        panels[teacher.id] = _relearning(results, attack, [teacher, *shown, *results.of_role("oracle", "base")])
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
    students = [row for row in results.of_role("student") if row.teacher == "oracle"]
    if not students:
        return {}
    return {
        "Distance to the oracle": _distances(results, students),
        "Relearning": _relearning(results, attack, [*students, *results.of_role("oracle", "base")]),
    }


def _distances(results: Results, students: list[ModelRow]) -> go.Figure:
    """Distillation loss by step, mean over seeds."""
    traces = []
    for row in students:
        losses: dict[int, list[float]] = {}
        for each in results.by_id[row.id]:
            for step, loss in (each.distil and each.distil.losses) or ():
                losses.setdefault(int(step), []).append(loss)
        points = [(step, estimate(of)) for step, of in sorted(losses.items())]
        traces.append(
            go.Scatter(
                x=[step for step, _ in points],
                y=[e.mean for _, e in points],
                name=escape(label(row)),
                mode="lines",
                line={"color": style.colour(row), "width": 2.2},
            )
        )
    figure = style.new_figure(traces, "distillation step", "KL(oracle || student) on the stream (nats per token)")
    return figure.update_layout(height=430).update_yaxes(type="log", dtick="D2")


def signal_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F8: what a teacher's distributions still hold of the forget skill, and what comes back to its fresh student."""
    scores = results.last_scores(attack)
    pairs = [(row, scores.get(results.fresh_student(row.id) or "")) for row in results.of_role("teacher")]
    known = [(row, score) for row, score in pairs if score and row.forget_signal is not None]
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
    scores = results.last_scores(attack)
    lines = _label_lines(results, scores)
    if not lines:
        return {}
    recovered = {id: scored(score, "recovery") for id, score in scores.items()}
    kept = {id: results.mean(id, "retain") for id in results.by_id}
    return {
        "What comes back": _label_figure(results, lines, recovered, "recovery", "forget"),
        "What was kept": _label_figure(results, lines, kept, "retain before", "retain"),
    }


class _LabelLine(NamedTuple):
    """Models of one kind and their shares of labels, in per cent."""

    name: str
    shares: dict[str, float]
    look: dict[str, str]


def _label_lines(results: Results, scores: dict[str, Score]) -> list[_LabelLine]:
    """Attacked teachers, and each kind of student; those that read texts themselves are dotted or dashed."""
    lines = []
    for method, shares in _label_families(results).items():
        kinds = dict.fromkeys(row.id.removesuffix(name) for name in shares for row in results.students_of(name))
        dashes = cycle(("dot", "dash", "dashdot"))
        for kind in ("", *kinds):
            share_of = {f"{kind}{name}": share for name, share in shares.items() if f"{kind}{name}" in scores}
            if share_of:
                called = f"{kind.removesuffix('-')} student" if kind else "suppressed"
                row = results.first[next(iter(share_of))]
                filtered = row.setting("filter_share") is not None
                look = {"color": style.colour(row), "dash": next(dashes) if filtered else "solid"}
                lines.append(_LabelLine(f"{called}{method}", share_of, look))
    return lines


def _label_families(results: Results) -> dict[str, dict[str, float]]:
    """By method: teachers with right labels and their shares of labels in per cent, rising, if these differ.

    A family's name is a suffix: empty where there is only one, else the method's.
    """
    families: dict[str, dict[str, float]] = {}
    for row in results.of_role("teacher"):
        if row.setting("label_precision", 1.0) == 1.0:
            families.setdefault(row.method or "", {})[row.id] = 100 * row.setting("label_share", 1.0)
    several = {name: of for name, of in families.items() if len(set(of.values())) > 1}
    return {
        f" ({name})" if len(several) > 1 else "": dict(sorted(of.items(), key=lambda item: item[1]))
        for name, of in several.items()
    }


def _label_figure(
    results: Results, lines: list[_LabelLine], values: dict[str, Estimate], what: str, metric: str
) -> go.Figure:
    traces = [_label_trace(line, [values[id] for id in line.shares], results.form_of(metric)) for line in lines]
    title = f"{what} ({escape(results.describe_metric(metric))})"
    figure = style.new_figure(traces, "labelled rows (% of all)", title)
    figure.update_layout(height=430).update_xaxes(type="log")
    return style.by_unit(figure, results, "y", metric)


def _label_trace(line: _LabelLine, found: list[Estimate], form: Format) -> go.Scatter:
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
    return f"recovery of its fresh student ({escape(results.describe_metric('forget'))})"


def _signal_point(results: Results, row: ModelRow, score: Score, methods: dict[str, str]) -> go.Scatter:
    signal = results.mean(row.id, "forget_signal")
    recovery = scored(score, "recovery")
    texts = [f"signal {signal.text(plain)}", f"recovery {recovery.text(results.form_of('forget'))}"]
    return go.Scatter(
        x=[signal.mean],
        y=[recovery.mean],
        error_x=style.error([signal], style.faint(style.colour(row), 0.6)),
        error_y=style.error([recovery], style.faint(style.colour(row), 0.6)),
        mode="markers+text",
        text=[escape(row.id)],
        textposition="top center",
        marker=style.marker(results, row, methods),
        showlegend=False,
        hovertemplate=f"<b>{escape(row.id)}</b><br>{'<br>'.join(texts)}<br>{style.seeds(signal.n)}<extra></extra>",
    )


def alpha_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F4 as curves: the noised students of each teacher, between suppressed, fresh student and oracle."""
    panels = {}
    for teacher in results.of_role("teacher"):
        students = results.students_of(teacher.id)
        if any(row.noise_alpha is not None for row in students):
            shown = [row for row in students if row.student_init in ("noised", "fresh")]
            panels[teacher.id] = _relearning(results, attack, [teacher, *shown, *results.of_role("oracle")])
    return panels


def _relearning(results: Results, attack: str, models: list[ModelRow]) -> go.Figure:
    traces = [trace for i, row in enumerate(models) for trace in _curve(results, attack, row, style.SYMBOLS[i % 6])]
    figure = style.new_figure(traces, _step_title(results, attack), style.metric_title(results, "forget"))
    of = [point for row in models for point in results.envelope(attack, row.id)]
    shown = _loss_range([end for step, e in of if step for end in (e.mean, e.low, e.high)])
    return style.by_unit(figure.update_layout(height=430).update_yaxes(range=shown), results, "y", "forget")


def _loss_range(attacked: list[float | None]) -> list[float] | None:
    """A y axis for losses under attack; before it, that of a model that never learnt the skill is far above."""
    known = [value for value in attacked if value is not None]
    if not known:
        return None
    room = 0.06 * (max(known) - min(known)) + 0.01
    return [min(known) - room, max(known) + room]


def _curve(results: Results, attack: str, row: ModelRow, symbol: str) -> list[go.Scatter]:
    points = results.envelope(attack, row.id)
    steps, form, seen = [step for step, _ in points], results.form_of("forget"), _tokens_by_step(results, attack)
    texts = [f"{e.text(form)}<br>{large(seen[step])} forget tokens, {style.seeds(e.n)}" for step, e in points]
    line = go.Scatter(
        x=steps,
        y=[e.mean for _, e in points],
        name=escape(label(row)),
        legendgroup=row.id,
        mode="lines+markers",
        line={"color": style.colour(row), "width": 2.2, "dash": "dot" if row.role == "base" else "solid"},
        marker={"symbol": symbol, "size": 6},
        customdata=texts,
        hovertemplate=f"<b>{escape(row.id)}</b>, step %{{x:,}}: %{{customdata}}<extra></extra>",
    )
    return [*_band(row, points), line]


def _band(row: ModelRow, points: list[tuple[int, Estimate]]) -> list[go.Scatter]:
    known = [(step, e) for step, e in points if e.low is not None]
    if not known:
        return []
    steps = [step for step, _ in known]
    edge = [e.high for _, e in known] + [e.low for _, e in reversed(known)]
    band = {"fill": "toself", "fillcolor": style.faint(style.colour(row)), "line": {"width": 0}, "mode": "lines"}
    return [go.Scatter(x=steps + steps[::-1], y=edge, **band, legendgroup=row.id, showlegend=False, hoverinfo="skip")]


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
    return f"attack step ({step:,} steps: {large(tokens)} forget tokens)"


def _tokens_by_step(results: Results, attack: str) -> dict[int, int]:
    """Most forget tokens that any run of the attack had seen by a step."""
    seen: dict[int, int] = {}
    for point in (p for c in results.runs(attack) for p in c.points):
        seen[point.step] = max(seen.get(point.step, 0), point.forget_tokens)
    return seen
