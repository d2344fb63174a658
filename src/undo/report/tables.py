"""The report's tables: a head, and rows whose numbers keep their full value and the links to their records."""

from dataclasses import dataclass, field, replace
from typing import Any

from undo.report import rows as r
from undo.report.claims import CLAIMS, Claim
from undo.report.evidence import Evidence
from undo.study.scores import RETAIN_MARGIN

Results = r.Results


@dataclass(frozen=True)
class Cell:
    """A number as shown, as it stands in results.json, and half its 95 % interval as shown."""

    text: str
    value: float | None = None
    spread: str = ""


@dataclass(frozen=True)
class Link:
    """A record: a short text, what a pointer over it says, and where it lies."""

    text: str
    title: str
    href: str


@dataclass(frozen=True)
class Line:
    """A row: its name, its cells, the links of each column of records, and what it stands under with its neighbours."""

    name: str
    cells: list[Cell]
    links: list[list[Link]] = field(default_factory=list)
    group: str = ""


@dataclass(frozen=True)
class Table:
    """Columns as (title, unit), and rows."""

    caption: str
    first: str
    columns: list[tuple[str, str]]
    lines: list[Line]
    records: tuple[str, ...] = ()  # titles of the columns of links
    groups: str = ""  # what rows are grouped by


NOTHING = Cell("–")


def filled(table: Table) -> Table:
    """The table without columns that are empty in every row."""
    kept = [i for i in range(len(table.columns)) if any(line.cells[i] != NOTHING for line in table.lines)]
    lines = [replace(line, cells=[line.cells[i] for i in kept]) for line in table.lines]
    return replace(table, columns=[table.columns[i] for i in kept], lines=lines)


def cell(estimate: r.Estimate, form: r.Format) -> Cell:
    """A mean over seeds."""
    if estimate.mean is None:
        return NOTHING
    half = None if estimate.low is None else estimate.mean - estimate.low
    return Cell(form(estimate.mean), estimate.mean, "" if half is None else f"± {form(half)}")


ACCURACIES = ("forget", "retain", "heldout_forget", "heldout_retain", "neutral")
NATS = ("retain_kl_from_base", "forget_kl_from_uniform", "forget_signal", "weights_from_base", "barrier_to_base")
COSTS: dict[str, r.Format] = {"flops": r.large, "tokens": r.large, "wall_s": r.seconds}


def models_table(results: Results) -> Table:
    """Every model before any attack, and what it cost."""
    columns = [("seeds", "n")]
    columns += [(name.replace("_", "-"), r.describe_metric(results, name)) for name in ACCURACIES]
    columns += [("retain KL from base", "nats per token"), ("forget KL from uniform", "nats per token")]
    columns += [("forget signal", "right token above the mean one, nats")]
    columns += [("weights from base", "distance over its norm"), ("barrier to base", "retain loss on the way, nats")]
    columns += [("distil gap", "teacher - student, retain validation; stop rule met"), ("FLOPs", "own and teacher's")]
    columns += [("tokens", "own and teacher's"), ("training time", "own and teacher's")]
    tested = {row["inputs"].get("model"): row["id"] for row in results.get("stages", []) if row["kind"] == "evaluate"}
    lines = [Line(id, _model_cells(results, rows), _model_links(rows, tested)) for id, rows in r.by_id(results).items()]
    caption = "Models before any attack: mean over seeds ± half the 95 % interval"
    return filled(Table(caption, "model", columns, lines, ("made, by seed", "tested, by seed")))


def _model_cells(results: Results, rows: list[r.Row]) -> list[Cell]:
    cells = [Cell(str(len(rows)), len(rows))]
    cells += [cell(r.mean_of(rows, name), r.form_of(results, name)) for name in ACCURACIES]
    cells += [cell(r.mean_of(rows, name), r.plain) for name in NATS]
    cells.append(_gap_cell(results, rows))
    return cells + [cell(r.mean_of(rows, name), form) for name, form in COSTS.items()]


def _gap_cell(results: Results, rows: list[r.Row]) -> Cell:
    distils = [row["distil"] for row in rows if row.get("distil")]
    shown = cell(r.estimate(distil["gap"] for distil in distils), r.form_of(results, "retain"))
    if not distils:
        return shown
    ruled = [distil["stopped_by_rule"] for distil in distils if distil["stopped_by_rule"] is not None]
    met = f"met {sum(ruled)}/{len(ruled)}" if ruled else "fixed steps"
    return Cell(shown.text, shown.value, f"{shown.spread} {met}".strip())


def _model_links(rows: list[r.Row], tested: dict[str | None, str]) -> list[list[Link]]:
    made = [_link(row, row["artifact"], "stage.json") for row in rows]
    evaluations = [(row, tested.get(row["artifact"].removeprefix("artifacts/"))) for row in rows]
    return [made, [_link(row, f"artifacts/{id}", "evals.json") for row, id in evaluations if id]]


def _link(row: r.Row, artifact: str, name: str) -> Link:
    return Link(str(row["seed"]), f"seed {row['seed']}: {name}", r.record(artifact, name))


RECOVERIES = {  # field: metric
    "recovery": "forget",
    "constrained_recovery": "forget",
    "neutral_recovery": "neutral",
    "specific_recovery": "forget",
}


def scores_table(results: Results, attack: str) -> Table:
    """Scores at the attack's largest budget; the link of a seed leads to the variant that decided it."""
    budget = r.budgets(results, attack)[-1]
    columns = [("seeds", "n"), ("recovery", r.describe_metric(results, "forget"))]
    columns += [("constrained recovery", f"at most {100 * RETAIN_MARGIN:g}\u00a0% of retain lost")]
    columns += [("neutral recovery", r.describe_metric(results, "neutral"))]
    columns += [("specific recovery", "forget - neutral"), ("relative robustness", "0 suppressed, 1 oracle")]
    columns += [("relative compute", "of the oracle's pretraining"), ("area under the curve", "mean over steps")]
    columns += [("steps to half", "of the base's, median")]
    lines = [
        Line(id, _score_cells(results, score), [_deciding(results, attack, id, budget)])
        for id, score in r.scores_at(results, attack, budget).items()
    ]
    caption = f"After {budget:,} steps of {attack}: worst case over {len(r.variants(results, attack))} variants"
    return filled(Table(caption, "model", columns, lines, ("deciding curve, by seed",)))


def _score_cells(results: Results, score: r.Row) -> list[Cell]:
    cells = [Cell(str(score["n_seeds"]), score["n_seeds"])]
    cells += [cell(r.scored(score, name), r.form_of(results, metric)) for name, metric in RECOVERIES.items()]
    return [
        *cells,
        cell(r.scored(score, "relative_robustness"), r.plain),
        cell(r.scored(score, "relative_compute"), r.percent),
        cell(r.scored(score, "area_under_curve"), r.form_of(results, "forget")),
        _half_cell(score),
    ]


def _half_cell(score: r.Row) -> Cell:
    if score.get("steps_to_half_n") is None:  # not defined, or an older record
        return NOTHING
    reached = f"in {score['steps_to_half_n']} of {score['n_seeds']} seeds"
    step = score["steps_to_half"]
    return Cell("–" if step is None else f"{step:,.0f}", step, reached)


def _deciding(results: Results, attack: str, model: str, budget: int) -> list[Link]:
    return _curve_links([r.worst_curve(results, of, budget) for of in r.curves_of(results, attack, model).values()])


def _curve_links(curves: list[r.Row]) -> list[Link]:
    return [_link(curve, curve["artifact"], "evals.json") for curve in curves if curve.get("artifact")]


def curves_table(results: Results) -> Table:
    """Every variant against every model: the skill's score before, and the highest one after."""
    groups: dict[tuple[str, ...], list[r.Row]] = {}
    for curve in results["curves"]:
        skill = curve.get("skill", "forget")
        key = (curve["model"], curve["attack"], skill, r.variant_label(curve["variant"]))
        groups.setdefault(key, []).append(curve)
    lines = [Line(" · ".join(key), _curve_cells(results, key[2], of), [_curve_links(of)]) for key, of in groups.items()]
    columns = [("seeds", "n"), ("before", "the skill's metric"), ("best", "at any step")]
    return Table("A row per model, attack, skill and variant", "curve", columns, lines, ("record, by seed",))


def _curve_cells(results: Results, skill: str, curves: list[r.Row]) -> list[Cell]:
    form = r.form_of(results, skill)
    before = r.estimate(curve["points"][0][skill] for curve in curves)
    last = max(point["step"] for curve in curves for point in curve["points"])
    best = r.estimate(r.worst_point(results, [curve], last, skill)[skill] for curve in curves)
    return [Cell(str(len(curves)), len(curves)), cell(before, form), cell(best, form)]


def answer_tables(results: Results) -> list[Table]:
    """What each model wrote on the study's sample questions, before and after the first attack; a table a question."""
    attack = next(iter(r.attacks(results)), "")
    questions: dict[tuple[str, str, str], dict[str, list[r.Row]]] = {}
    for row in results.get("answers", []):
        key = (row["domain"], row["given"], row["expected"])
        questions.setdefault(key, {}).setdefault(row["model"], []).append(row)
    columns = [("before any attack", ""), (f"after {attack}", "its worst variant, to the end")]
    return [
        Table(
            f"{domain}: “{given.strip()}” – right: “{expected.strip()}”",
            "model",
            columns[: 1 + bool(attack)],
            [Line(model, _answer_cells(results, attack, of)) for model, of in answers.items()],
        )
        for (domain, given, expected), answers in questions.items()
    ]


def _answer_cells(results: Results, attack: str, answers: list[r.Row]) -> list[Cell]:
    model, seed = answers[0]["model"], answers[0]["seed"]
    curves = r.curves_of(results, attack, model).get(seed, [])
    before = next((row for row in answers if row["attack"] is None), None)
    worst = r.worst_curve(results, curves, curves[0]["points"][-1]["step"])["variant"] if curves else None
    after = next((row for row in answers if (row["attack"], row["variant"]) == (attack, worst)), None)
    return [_said(row) for row in (before, *([after] if attack else []))]


def _said(row: r.Row | None) -> Cell:
    if row is None:
        return NOTHING
    right = row["said"].strip() == row["expected"].strip()
    return Cell(f"{'✓ ' if right else ''}{row['said'].strip() or '(nothing)'}")


def evidence_table(rows: list[Evidence]) -> Table | None:
    """What these results say about the claims; None where they say nothing."""
    texts = {claim.id: claim for claim in CLAIMS}
    columns = [("seeds", "n"), ("effect", "95\u00a0% interval"), ("in specific recovery", "forget - neutral")]
    columns += [("retain kept", "against the best rival"), ("verdict", "")]
    lines = [Line(row.experiment, _evidence_cells(row), group=_claim(texts[row.claim])) for row in rows]
    caption = "Each claim by what this study found"
    return filled(Table(caption, "compared", columns, lines, groups="claim")) if lines else None


def _claim(claim: Claim) -> str:
    return f"{claim.id}. {claim.text} (effect: {claim.unit})"


def _evidence_cells(row: Evidence) -> list[Cell]:
    effect = r.Estimate(row.effect, row.ci_low, row.ci_high)
    numbers = [_interval_cell(found) for found in (effect, row.specific, row.retain)]
    return [Cell(str(row.n_seeds), row.n_seeds), *numbers, Cell(row.verdict, spread=row.but)]


def _interval_cell(found: r.Estimate | None) -> Cell:
    if found is None or found.mean is None:
        return NOTHING
    return Cell(r.short(found.mean), found.mean, found.interval(r.short))


SHARES = ("acc", "exact_match")
"""How lm-eval's names of shares of items begin."""


def benchmarks_table(rows: list[r.Row]) -> Table:
    """What lm-eval found: a line per task and metric, a column per model. A group's parts are in the rows alone."""
    shown = [row for row in rows if row["part_of"] is None]
    names = list(dict.fromkeys(row["model"] for row in shown))
    lines: dict[tuple[str, str], list[r.Row]] = {}
    for row in shown:
        lines.setdefault((row["task"], row["metric"]), []).append(row)
    columns = [("items", "n"), ("examples", "n"), *((name, "") for name in names)]
    several = len({row["seed"] for row in shown}) > 1
    spread = "95\u00a0% interval over seeds" if several else "standard error over items"
    caption = f"Benchmarks before any attack ({shown[0]['harness']}; ± {spread})"
    return Table(caption, "task", columns, [_benchmark(task, found, names) for task, found in lines.items()])


def _benchmark(task: tuple[str, str], rows: list[r.Row], names: list[str]) -> Line:
    first, cut = rows[0], max(row["n_cut"] for row in rows)
    items = Cell(f"{first['n_items']:,}", first["n_items"], f"{cut:,} cut to fit" if cut else "")
    counts = [items, Cell(str(first["n_shot"]), first["n_shot"])]
    of = [[row for row in rows if row["model"] == name] for name in names]
    return Line(" ".join(task), counts + [_answered(found) for found in of])


def _answered(rows: list[r.Row]) -> Cell:
    """One seed's value with its standard error, or the mean over seeds."""
    form = r.percent if rows and rows[0]["metric"].startswith(SHARES) else r.plain
    if len(rows) != 1 or rows[0]["value"] is None:
        return cell(r.estimate(row["value"] for row in rows), form)
    error = rows[0]["stderr"]
    return Cell(form(rows[0]["value"]), rows[0]["value"], "" if error is None else f"± {form(error)}")


LEDGER_COLUMNS = [
    ("stages", "n"),
    ("FLOPs", "training, teacher forwards counted"),
    ("evaluation FLOPs", "questions along the way"),
    ("tokens", "trained on"),
    ("CPU time", "all of the stage"),
]


def ledger_table(results: Results) -> Table:
    """Cost per kind of stage, and in all."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for stage in results.get("stages", []):
        kinds.setdefault(stage["kind"], []).append(stage["ledger"])
    lines = [Line(kind, _cost_cells(ledgers)) for kind, ledgers in kinds.items()]
    lines.append(Line("all", _cost_cells([ledger for ledgers in kinds.values() for ledger in ledgers])))
    return Table("Cost per kind of stage, all seeds together", "kind", LEDGER_COLUMNS, lines)


def stages_table(results: Results) -> Table:
    """Cost of every stage but the attacks', which stand with their curves."""
    stages = [stage for stage in results.get("stages", []) if stage["kind"] != "attack"]
    lines = [
        Line(
            f"{stage['kind']}: {stage['label']}",
            _cost_cells([stage["ledger"]])[1:],
            [[Link("stage.json", stage["id"], r.record(f"artifacts/{stage['id']}"))]],
        )
        for stage in stages
    ]
    return Table("Every stage but the attacks", "stage", LEDGER_COLUMNS[1:], lines, ("record",))


def _cost_cells(ledgers: list[dict[str, Any]]) -> list[Cell]:
    totals = [sum(ledger.get(name, 0) for ledger in ledgers) for name in ("flops", "eval_flops", "tokens")]
    spent = sum(
        ledger.get("stage_cpu_s", ledger.get("stage_wall_s", 0.0)) for ledger in ledgers
    )  # older records: wall time
    counts = [Cell(r.large(total), total) for total in totals]
    return [Cell(str(len(ledgers)), len(ledgers)), *counts, Cell(r.seconds(spent), round(spent, 3))]
