"""results.json to plotly figures. Colour says what a model is, the marker which method is behind it."""

from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from undo.report import rows as r

Results = r.Results

# Okabe and Ito's palette, safe for colour-blind readers; grey instead of black, to be seen on a dark page too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#BB6E9C", "#E69F00", "#56B4E9")
COLOURS = {"base": "#8A8A8A", "oracle": "#009E73", "teacher": "#D55E00"}
STUDENT_COLOURS = {"fresh": "#0072B2", "base_init": "#56B4E9", "teacher": "#E69F00", "noised": "#BB6E9C"}
WEAK_NOISE, STRONG_NOISE = (223, 160, 194), (140, 58, 112)  # alpha 0 and 1: the palette's purple, lighter and darker
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
LETTERS = dict(zip(SYMBOLS, "●■◆▲✚★", strict=True))  # the same markers for a legend in HTML
TEXT_SIDES = ("top left", "bottom right", "bottom left")  # beside the error bars


def headline(results: Results) -> go.Figure | None:
    """F4 of the first attack: what robustness costs; None where it is nowhere defined."""
    found = r.attacks(results)
    figure = robustness_over_compute(results, found[0]) if found else None
    return figure.update_layout(template="plotly_white") if figure else None


def robustness_over_compute(results: Results, attack: str) -> go.Figure | None:
    """F4: relative robustness over relative compute at the attack's largest budget, a point per model."""
    scores = _last_scores(results, attack)
    firsts = {id: rows[0] for id, rows in r.by_id(results).items()}
    shown = [score for score in scores.values() if _placed(score)]
    if not any(firsts[score["model"]]["role"] != "oracle" for score in shown):
        return None
    methods = _methods(results)
    traces = [_robust_point(results, firsts[score["model"]], score, methods) for score in shown]
    figure = new_figure(
        [*_alpha_paths(results, scores), *traces, *_legend(results)],
        "relative compute: FLOPs of suppress + distil / FLOPs of pretraining the oracle",
        "relative robustness",
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero").update_yaxes(range=_robust_range(shown))
    for height, side, where, name in ((0, "right", "top", "suppressed"), (1, "left", "bottom", "oracle")):
        figure.add_hline(height, line={"dash": "dot", "width": 1.5, "color": COLOURS["base"]}, layer="below")
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
    text = "<br>".join([f"<b>{escape(row['id'])}</b>", *lines, f"recovery {recovery}", _seeds(robust.n)])
    alpha = row["noise_alpha"]
    return go.Scatter(
        x=[compute.mean],
        y=[robust.mean],
        error_x=error([compute], colour(row)),
        error_y=error([robust], colour(row)),
        mode="markers" if alpha is None else "markers+text",
        text=[None if alpha is None else f"{alpha:g}"],
        textposition=TEXT_SIDES[list(methods).index(row["method"]) % len(TEXT_SIDES)] if row["method"] else None,
        marker=_marker(row, methods),
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
        line = {"color": COLOURS["base"], "width": 1}
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
    for teacher in r.of_role(results, "teacher"):
        students = r.students_of(results, teacher["id"])
        noised = [row for row in students if row["noise_alpha"] is not None]
        shown = noised[-1:] + [row for row in students if row["noise_alpha"] is None]
        panels[teacher["id"]] = _relearning(results, attack, [teacher, *shown, *_ends(results, "oracle", "base")])
    return panels


def matching_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F2: students that learnt from the oracle, how close they came to it and how fast they relearn."""
    students = [row for row in r.of_role(results, "student") if row.get("teacher") == "oracle"]
    if not students:
        return {}
    return {
        "Distance to the oracle": _distances(results, students),
        "Relearning": _relearning(results, attack, [*students, *_ends(results, "oracle", "base")]),
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
                line={"color": colour(row), "width": 2.2},
            )
        )
    figure = new_figure(traces, "distillation step", "KL(oracle || student) on the stream (nats per token)")
    return figure.update_layout(height=430).update_yaxes(type="log", dtick="D2")


def signal_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F8: what a teacher's distributions still hold of the forget skill, and what comes back to its fresh student."""
    scores = _last_scores(results, attack)
    pairs = [(row, scores.get(f"fresh-{row['id']}")) for row in r.of_role(results, "teacher")]
    known = [(row, score) for row, score in pairs if score and row.get("forget_signal") is not None]
    if len(known) < 2:
        return {}
    methods = _methods(results)
    traces = [_signal_point(results, row, score, methods) for row, score in known]
    figure = new_figure(traces, "signal left in the teacher on forget text (nats per token)", _recovery_title(results))
    return {"Signal left in the teacher": _by_unit(figure.update_layout(height=430), results, "y", "forget")}


def label_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F7: what comes back over the share of labels that suppression saw, for teachers and their fresh students."""
    suppress, scores = results["recipe"].get("suppress") or {}, _last_scores(results, attack)
    shares = {name: knobs.get("label_share", 1.0) for name, knobs in suppress.items() if r.right_labels(knobs)}
    ids = sorted((name for name in shares if name in scores), key=shares.__getitem__)
    if len({shares[name] for name in ids}) < 2:
        return {}
    traces = [
        _label_line(results, scores, {id: 100 * shares[name] for name, id in of.items() if id in scores}, kind, shade)
        for kind, shade, of in (
            ("suppressed", COLOURS["teacher"], {name: name for name in ids}),
            ("fresh student", STUDENT_COLOURS["fresh"], {name: f"fresh-{name}" for name in ids}),
        )
    ]
    figure = new_figure(
        traces, "labelled rows (% of all)", f"recovery ({escape(r.describe_metric(results, 'forget'))})"
    )
    figure.update_layout(height=430).update_xaxes(type="log")
    return {"Label budget": _by_unit(figure, results, "y", "forget")}


def _label_line(results: Results, scores: dict[str, r.Row], share_of: dict[str, float], name: str, shade: str):
    found = [r.scored(scores[id], "recovery") for id in share_of]
    form = r.form_of(results, "forget")
    return go.Scatter(
        x=list(share_of.values()),
        y=[e.mean for e in found],
        error_y=error(found, _faint(shade, 0.6)),
        name=name,
        mode="lines+markers",
        line={"color": shade, "width": 2.2},
        customdata=[f"{escape(id)}<br>{e.text(form)}<br>{_seeds(e.n)}" for id, e in zip(share_of, found, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _last_scores(results: Results, attack: str) -> dict[str, r.Row]:
    return r.scores_at(results, attack, max(r.budgets(results, attack), default=0))


def _recovery_title(results: Results) -> str:
    return f"recovery of its fresh student ({escape(r.describe_metric(results, 'forget'))})"


def _signal_point(results: Results, row: r.Row, score: r.Row, methods: dict[str, str]) -> go.Scatter:
    signal = r.mean_of(r.by_id(results)[row["id"]], "forget_signal")
    recovery = r.scored(score, "recovery")
    texts = [f"signal {signal.text(r.plain)}", f"recovery {recovery.text(r.form_of(results, 'forget'))}"]
    return go.Scatter(
        x=[signal.mean],
        y=[recovery.mean],
        error_x=error([signal], _faint(colour(row), 0.6)),
        error_y=error([recovery], _faint(colour(row), 0.6)),
        mode="markers+text",
        text=[escape(row["id"])],
        textposition="top center",
        marker=_marker(row, methods),
        showlegend=False,
        hovertemplate=f"<b>{escape(row['id'])}</b><br>{'<br>'.join(texts)}<br>{_seeds(signal.n)}<extra></extra>",
    )


def alpha_panels(results: Results, attack: str) -> dict[str, go.Figure]:
    """F4 as curves: the noised students of each teacher, between suppressed, fresh student and oracle."""
    panels = {}
    for teacher in r.of_role(results, "teacher"):
        students = r.students_of(results, teacher["id"])
        if any(row["noise_alpha"] is not None for row in students):
            shown = [row for row in students if row["student_init"] in ("noised", "fresh")]
            panels[teacher["id"]] = _relearning(results, attack, [teacher, *shown, *_ends(results, "oracle")])
    return panels


def _ends(results: Results, *roles: str) -> list[r.Row]:
    return [row for role in roles for row in r.of_role(results, role)]


def _relearning(results: Results, attack: str, models: list[r.Row]) -> go.Figure:
    traces = [trace for i, row in enumerate(models) for trace in _curve(results, attack, row, SYMBOLS[i % 6])]
    figure = new_figure(traces, _step_title(results, attack), metric_title(results, "forget"))
    return _by_unit(figure.update_layout(height=430), results, "y", "forget")


def _curve(results: Results, attack: str, row: r.Row, symbol: str) -> list[go.Scatter]:
    points = r.envelope(results, attack, row["id"])
    steps, form, seen = [step for step, _ in points], r.form_of(results, "forget"), _tokens_by_step(results, attack)
    texts = [f"{e.text(form)}<br>{r.large(seen[step])} forget tokens, {_seeds(e.n)}" for step, e in points]
    line = go.Scatter(
        x=steps,
        y=[e.mean for _, e in points],
        name=escape(r.label(row)),
        legendgroup=row["id"],
        mode="lines+markers",
        line={"color": colour(row), "width": 2.2, "dash": "dot" if row["role"] == "base" else "solid"},
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
    band = {"fill": "toself", "fillcolor": _faint(colour(row)), "line": {"width": 0}, "mode": "lines"}
    return [
        go.Scatter(x=steps + steps[::-1], y=edge, **band, legendgroup=row["id"], showlegend=False, hoverinfo="skip")
    ]


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
    methods = _methods(results)
    points = [_pareto_point(results, row, *pair, methods) for row, pair in zip(rows, pairs, strict=True)]
    titles = (metric_title(results, metric) for metric in ("forget", "retain"))
    figure = new_figure(points, *titles).update_layout(height=400)
    return _by_unit(_by_unit(figure, results, "x", "forget"), results, "y", "retain")


def _pareto_point(
    results: Results, row: r.Row, forget: r.Estimate, retain: r.Estimate, methods: dict[str, str]
) -> go.Scatter:
    texts = [f"{name} {e.text(r.form_of(results, name))}" for name, e in (("forget", forget), ("retain", retain))]
    return go.Scatter(
        x=[forget.mean],
        y=[retain.mean],
        error_x=error([forget], _faint(colour(row), 0.6)),
        error_y=error([retain], _faint(colour(row), 0.6)),
        mode="markers",
        marker=_marker(row, methods),
        showlegend=False,
        hovertemplate=f"<b>{escape(row['id'])}</b><br>{'<br>'.join(texts)}<br>{_seeds(forget.n)}<extra></extra>",
    )


def relearning_axes(results: Results, attack: str, skill: str = "forget") -> go.Figure:
    """A relearning figure without its lines, for a page that draws them itself."""
    figure = new_figure([], _step_title(results, attack), metric_title(results, skill)).update_layout(height=460)
    return _by_unit(figure, results, "y", skill)


COSTS = {"suppression": "#E69F00", "distillation": "#0072B2", "teacher's kept outputs": "#56B4E9"}


def cost_bars(results: Results) -> go.Figure | None:
    """Training FLOPs of every teacher and student, by what they went into, against the oracle's pretraining."""
    oracle = r.mean_of(r.by_id(results).get("oracle", []), "flops").mean
    made = {id: rows for id, rows in r.by_id(results).items() if rows[0]["role"] in ("teacher", "student")}
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
    figure = new_figure(traces, "training FLOPs (% of the oracle's pretraining)", "")
    figure.update_layout(height=150 + 24 * len(parts), barmode="stack", legend_traceorder="normal").update_xaxes(
        tickformat=".0%"
    )
    figure.add_vline(1, line={"dash": "dot", "width": 1.5, "color": COLOURS["oracle"]})
    return figure.update_yaxes(autorange="reversed", type="category")


def _cost_parts(results: Results, rows: list[r.Row]) -> dict[str, float]:
    """Mean FLOPs over seeds of a model's suppression, of its own training, and of the rest, its teacher's outputs."""
    own_of = {f"artifacts/{stage['id']}": stage["ledger"].get("flops", 0) for stage in results.get("stages", [])}
    suppressed = {(row["id"], row["seed"]): row["flops"] for row in results["models"] if row["role"] == "teacher"}
    found = []
    for row in rows:
        if row["role"] == "teacher":
            found.append((row["flops"], 0.0, 0.0))
            continue
        before, own = suppressed.get((row.get("teacher"), row["seed"]), 0.0), own_of.get(row["artifact"], 0.0)
        found.append((before, own, max(0.0, row["flops"] - before - own)))
    return dict(zip(COSTS, (sum(values) / len(found) for values in zip(*found, strict=True)), strict=True))


def specific_recovery(results: Results, attack: str) -> go.Figure | None:
    """Recovery of the forget skill minus that of the neutral one, by model; None where neutral was not attacked."""
    scores = _last_scores(results, attack)
    rows = [of[0] for id, of in r.by_id(results).items() if scores.get(id, {}).get("specific_recovery") is not None]
    if not rows:
        return None
    found = [r.scored(scores[row["id"]], "specific_recovery") for row in rows]
    form = r.form_of(results, "forget")
    bars = go.Scatter(
        x=[e.mean for e in found],
        y=[escape(row["id"]) for row in rows],
        error_x=error(found, COLOURS["base"]),
        mode="markers",
        marker={"size": 11, "color": [colour(row) for row in rows]},
        showlegend=False,
        customdata=[f"{e.text(form)}<br>{_seeds(e.n)}" for e in found],
        hovertemplate="<b>%{y}</b> %{customdata}<extra></extra>",
    )
    title = f"specific recovery: forget - neutral ({results['metrics']['forget']['n_items']:,} forget items)"
    figure = new_figure([bars], title, "").update_layout(height=110 + 27 * len(rows))
    figure.add_vline(0, line={"dash": "dot", "width": 1.5, "color": COLOURS["base"]}, layer="below")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure.update_xaxes(tickformat=".0%" if form is r.percent else None, range=_signed_range(found))


def _signed_range(found: list[r.Estimate]) -> list[float]:
    """Zero, the means, and the intervals as far as they stay within twice the widest mean."""
    far = 2 * max(abs(e.mean or 0.0) for e in found) + 0.05
    ends = [end for e in found for end in (0.0, e.mean, e.low, e.high) if end is not None]
    return [max(min(ends), -far) - 0.02, min(max(ends), far) + 0.02]


def colour(row: r.Row) -> str:
    """By role; students by initialisation, noised ones darker with alpha."""
    if row["role"] != "student":
        return COLOURS[row["role"]]
    if row["noise_alpha"] is None:
        return STUDENT_COLOURS[row["student_init"]]
    mixed = [
        round((1 - row["noise_alpha"]) * weak + row["noise_alpha"] * strong)
        for weak, strong in zip(WEAK_NOISE, STRONG_NOISE, strict=True)
    ]
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def _faint(colour: str, alpha: float = 0.15) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _methods(results: Results) -> dict[str, str]:
    """Marker by unlearning method."""
    names = dict.fromkeys(row["method"] for row in results["models"] if row["method"])
    return {name: SYMBOLS[i % len(SYMBOLS)] for i, name in enumerate(names)}


def _marker(row: r.Row, methods: dict[str, str]) -> dict[str, Any]:
    return {"size": 11, "color": colour(row), "symbol": methods.get(row["method"] or "", "circle")}


@dataclass(frozen=True)
class Mark:
    """An entry of a legend: what a colour or a marker means."""

    name: str
    colour: str
    symbol: str


def key(results: Results) -> list[Mark]:
    """What colours and markers of the figures over all models mean."""
    marks: dict[str, Mark] = {}
    for row in results["models"]:
        noised = row["noise_alpha"] is not None
        name, shade = ("UNDO student", STUDENT_COLOURS["noised"]) if noised else (r.label(row), colour(row))
        marks[name] = Mark(name, shade, "circle")
    methods = _methods(results)
    shapes = [Mark(name, COLOURS["base"], symbol) for name, symbol in methods.items()] if len(methods) > 1 else []
    return [*marks.values(), *shapes]


def _legend(results: Results) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=[None], y=[None], mode="markers", name=escape(mark.name),
            marker={"size": 10, "color": mark.colour, "symbol": mark.symbol},
        )
        for mark in key(results)
    ]  # fmt: skip


def error(found: list[r.Estimate], colour: str) -> dict[str, Any]:
    """Half-widths of the intervals; none for a single seed. Student-t intervals are symmetric."""
    halves = [None if e.high is None or e.mean is None else e.high - e.mean for e in found]
    return {"type": "data", "array": halves, "color": colour, "thickness": 1.3, "width": 4}


def _seeds(n: int) -> str:
    return "one seed: no interval" if n == 1 else f"{n} seeds"


def _step_title(results: Results, attack: str) -> str:
    step, tokens = max(_tokens_by_step(results, attack).items())
    return f"attack step ({step:,} steps: {r.large(tokens)} forget tokens)"


def _tokens_by_step(results: Results, attack: str) -> dict[int, int]:
    """Most forget tokens that any run of the attack had seen by a step."""
    seen: dict[int, int] = {}
    for point in (p for c in results["curves"] if c["attack"] == attack for p in c["points"]):
        seen[point["step"]] = max(seen.get(point["step"], 0), point["forget_tokens"])
    return seen


def metric_title(results: Results, metric: str) -> str:
    """`forget (exact match, forget test; %, 800 items)`, for an axis."""
    return f"{metric} ({escape(r.describe_metric(results, metric))})"


def _by_unit(figure: go.Figure, results: Results, axis: str, metric: str) -> go.Figure:
    """Fractions run from 0 to 100 %, with room for the markers at both ends."""
    update = figure.update_xaxes if axis == "x" else figure.update_yaxes
    if results["metrics"][metric]["unit"] == "fraction":
        return update(tickformat=".0%", range=[-0.03, 1.04])
    return update(tickformat=".2f")


def new_figure(traces: list, x_title: str, y_title: str) -> go.Figure:
    """A figure in the style of them all."""
    axis = {"automargin": True, "zeroline": False, "tickangle": 0}
    layout = {
        "template": {},  # the page has its own, light and dark; plotly's would be copied into every figure
        "height": 480,
        "margin": {"l": 64, "r": 18, "t": 18, "b": 56},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
        "xaxis": {**axis, "title": {"text": x_title}},
        "yaxis": {**axis, "title": {"text": y_title}},
    }
    return go.Figure(traces, layout)
