"""The report's tables: a head, and rows whose numbers keep their full value and the links to their records."""

from dataclasses import dataclass, field, replace
from typing import Any

from undo.report.numbers import Estimate, Format, estimate, large, percent, plain, seconds
from undo.report.results import Results, mean_of, record, scored, variant_label
from undo.study.rows import Answer, Benchmark, Curve, ModelRow, Score
from undo.study.scores import RETAIN_MARGIN


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


def cell(estimate: Estimate, form: Format) -> Cell:
    """A mean over seeds."""
    if estimate.mean is None:
        return NOTHING
    half = None if estimate.low is None else estimate.mean - estimate.low
    return Cell(form(estimate.mean), estimate.mean, "" if half is None else f"± {form(half)}")


ACCURACIES = ("forget", "retain", "heldout_forget", "heldout_retain", "neutral")
NATS = ("retain_kl_from_base", "forget_kl_from_uniform", "forget_signal", "weights_from_base", "barrier_to_base")
COSTS: dict[str, Format] = {"flops": large, "tokens": large, "wall_s": seconds}


def models_table(results: Results) -> Table:
    """Every model before any attack, and what it cost."""
    columns = [("seeds", "n")]
    columns += [(name.replace("_", "-"), results.describe_metric(name)) for name in ACCURACIES]
    columns += [("retain KL from base", "nats per token"), ("forget KL from uniform", "nats per token")]
    columns += [("forget signal", "right token above the mean one, nats")]
    columns += [("weights from base", "distance over its norm"), ("barrier to base", "retain loss on the way, nats")]
    columns += [("distil gap", "teacher - student, retain validation; stop rule met"), ("FLOPs", "own and teacher's")]
    columns += [("tokens", "own and teacher's"), ("training time", "own and teacher's")]
    tested = {row.inputs.get("model"): row.id for row in results.stages if row.kind == "evaluate"}
    lines = [Line(id, _model_cells(results, rows), _model_links(rows, tested)) for id, rows in results.by_id.items()]
    caption = "Models before any attack: mean over seeds ± half the 95 % interval"
    return filled(Table(caption, "model", columns, lines, ("made, by seed", "tested, by seed")))


def _model_cells(results: Results, rows: list[ModelRow]) -> list[Cell]:
    cells = [Cell(str(len(rows)), len(rows))]
    cells += [cell(mean_of(rows, name), results.form_of(name)) for name in ACCURACIES]
    cells += [cell(mean_of(rows, name), plain) for name in NATS]
    cells.append(_gap_cell(results, rows))
    return cells + [cell(mean_of(rows, name), form) for name, form in COSTS.items()]


def _gap_cell(results: Results, rows: list[ModelRow]) -> Cell:
    distils = [row.distil for row in rows if row.distil]
    shown = cell(estimate(distil.gap for distil in distils), results.form_of("retain"))
    if not distils:
        return shown
    ruled = [distil.stopped_by_rule for distil in distils if distil.stopped_by_rule is not None]
    met = f"met {sum(ruled)}/{len(ruled)}" if ruled else "fixed steps"
    return Cell(shown.text, shown.value, f"{shown.spread} {met}".strip())


def _model_links(rows: list[ModelRow], tested: dict[str | None, str]) -> list[list[Link]]:
    made = [_link(row, row.artifact, "stage.json") for row in rows]
    evaluations = [(row, tested.get(row.artifact.removeprefix("artifacts/"))) for row in rows]
    return [made, [_link(row, f"artifacts/{id}", "evals.json") for row, id in evaluations if id]]


def _link(row: ModelRow | Curve, artifact: str, name: str) -> Link:
    return Link(str(row.seed), f"seed {row.seed}: {name}", record(artifact, name))


RECOVERIES = {  # field: metric
    "recovery": "forget",
    "constrained_recovery": "forget",
    "neutral_recovery": "neutral",
    "specific_recovery": "forget",
}


def scores_table(results: Results, attack: str) -> Table:
    """Scores at the attack's largest budget; the link of a seed leads to the variant that decided it."""
    budget = results.budgets(attack)[-1]
    columns = [("seeds", "n"), ("recovery", results.describe_metric("forget"))]
    columns += [("constrained recovery", f"at most {100 * RETAIN_MARGIN:g}\u00a0% of retain lost")]
    columns += [("neutral recovery", results.describe_metric("neutral"))]
    columns += [("specific recovery", "forget - neutral"), ("relative robustness", "0 suppressed, 1 oracle")]
    columns += [("relative compute", "of the oracle's pretraining"), ("area under the curve", "mean over steps")]
    columns += [("steps to half", "of the base's, median")]
    lines = [
        Line(id, _score_cells(results, score), [_deciding(results, attack, id, budget)])
        for id, score in results.scores_at(attack, budget).items()
    ]
    caption = f"After {budget:,} steps of {attack}: worst case over {len(results.variants(attack))} variants"
    return filled(Table(caption, "model", columns, lines, ("deciding curve, by seed",)))


def _score_cells(results: Results, score: Score) -> list[Cell]:
    cells = [Cell(str(score.n_seeds), score.n_seeds)]
    cells += [cell(scored(score, name), results.form_of(metric)) for name, metric in RECOVERIES.items()]
    return [
        *cells,
        cell(scored(score, "relative_robustness"), plain),
        cell(scored(score, "relative_compute"), percent),
        cell(scored(score, "area_under_curve"), results.form_of("forget")),
        _half_cell(score),
    ]


def _half_cell(score: Score) -> Cell:
    if score.steps_to_half_n is None:  # not defined, or an older record
        return NOTHING
    reached = f"in {score.steps_to_half_n} of {score.n_seeds} seeds"
    step = score.steps_to_half
    return Cell("–" if step is None else f"{step:,.0f}", step, reached)


def _deciding(results: Results, attack: str, model: str, budget: int) -> list[Link]:
    return _curve_links([results.worst_curve(of, budget) for of in results.curves_of(attack, model).values()])


def _curve_links(curves: list[Curve]) -> list[Link]:
    return [_link(curve, curve.artifact, "evals.json") for curve in curves if curve.artifact]


def curves_table(results: Results) -> Table:
    """Every variant against every model: the skill's score before, and the highest one after."""
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in results.curves:
        key = (curve.model, curve.attack, curve.skill, variant_label(curve.variant))
        groups.setdefault(key, []).append(curve)
    lines = [Line(" · ".join(key), _curve_cells(results, key[2], of), [_curve_links(of)]) for key, of in groups.items()]
    columns = [("seeds", "n"), ("before", "the skill's metric"), ("best", "at any step")]
    return Table("A row per model, attack, skill and variant", "curve", columns, lines, ("record, by seed",))


def _curve_cells(results: Results, skill: str, curves: list[Curve]) -> list[Cell]:
    form = results.form_of(skill)
    before = estimate(curve.points[0].value(skill) for curve in curves)
    last = max(point.step for curve in curves for point in curve.points)
    best = estimate(results.worst_point([curve], last, skill).value(skill) for curve in curves)
    return [Cell(str(len(curves)), len(curves)), cell(before, form), cell(best, form)]


def answer_tables(results: Results) -> list[Table]:
    """What each model wrote on the study's sample questions, before and after the first attack; a table a question."""
    attack = next(iter(results.attacks()), "")
    questions: dict[tuple[str, str, str], dict[str, list[Answer]]] = {}
    for row in results.answers:
        key = (row.domain, row.given, row.expected)
        questions.setdefault(key, {}).setdefault(row.model, []).append(row)
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


def _answer_cells(results: Results, attack: str, answers: list[Answer]) -> list[Cell]:
    model, seed = answers[0].model, answers[0].seed
    curves = results.curves_of(attack, model).get(seed, [])
    before = next((row for row in answers if row.attack is None), None)
    worst = results.worst_curve(curves, curves[0].points[-1].step).variant if curves else None
    after = next((row for row in answers if (row.attack, row.variant) == (attack, worst)), None)
    return [_said(row) for row in (before, *([after] if attack else []))]


def _said(row: Answer | None) -> Cell:
    if row is None:
        return NOTHING
    right = row.said.strip() == row.expected.strip()
    return Cell(f"{'✓ ' if right else ''}{row.said.strip() or '(nothing)'}")


SHARES = ("acc", "exact_match")
"""How lm-eval's names of shares of items begin."""


def benchmarks_table(rows: list[Benchmark]) -> Table:
    """What lm-eval found: a line per task and metric, a column per model. A group's parts are in the rows alone."""
    shown = [row for row in rows if row.part_of is None]
    names = list(dict.fromkeys(row.model for row in shown))
    lines: dict[tuple[str, str], list[Benchmark]] = {}
    for row in shown:
        lines.setdefault((row.task, row.metric), []).append(row)
    columns = [("items", "n"), ("examples", "n"), *((name, "") for name in names)]
    several = len({row.seed for row in shown}) > 1
    spread = "95\u00a0% interval over seeds" if several else "standard error over items"
    caption = f"Benchmarks before any attack ({shown[0].harness}; ± {spread})"
    return Table(caption, "task", columns, [_benchmark(task, found, names) for task, found in lines.items()])


def _benchmark(task: tuple[str, str], rows: list[Benchmark], names: list[str]) -> Line:
    first, cut = rows[0], max(row.n_cut for row in rows)
    items = Cell(f"{first.n_items:,}", first.n_items, f"{cut:,} cut to fit" if cut else "")
    counts = [items, Cell(str(first.n_shot), first.n_shot)]
    of = [[row for row in rows if row.model == name] for name in names]
    return Line(" ".join(task), counts + [_answered(found) for found in of])


def _answered(rows: list[Benchmark]) -> Cell:
    """One seed's value with its standard error, or the mean over seeds."""
    form = percent if rows and rows[0].metric.startswith(SHARES) else plain
    if len(rows) != 1 or rows[0].value is None:
        return cell(estimate(row.value for row in rows), form)
    error = rows[0].stderr
    return Cell(form(rows[0].value), rows[0].value, "" if error is None else f"± {form(error)}")


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
    for stage in results.stages:
        kinds.setdefault(stage.kind, []).append(stage.ledger)
    lines = [Line(kind, _cost_cells(ledgers)) for kind, ledgers in kinds.items()]
    lines.append(Line("all", _cost_cells([ledger for ledgers in kinds.values() for ledger in ledgers])))
    return Table("Cost per kind of stage, all seeds together", "kind", LEDGER_COLUMNS, lines)


def stages_table(results: Results) -> Table:
    """Cost of every stage but the attacks', which stand with their curves."""
    stages = [stage for stage in results.stages if stage.kind != "attack"]
    lines = [
        Line(
            f"{stage.kind}: {stage.label}",
            _cost_cells([stage.ledger])[1:],
            [[Link("stage.json", stage.id, record(f"artifacts/{stage.id}"))]],
        )
        for stage in stages
    ]
    return Table("Every stage but the attacks", "stage", LEDGER_COLUMNS[1:], lines, ("record",))


def _cost_cells(ledgers: list[dict[str, Any]]) -> list[Cell]:
    totals = [sum(ledger.get(name, 0) for ledger in ledgers) for name in ("flops", "eval_flops", "tokens")]
    spent = sum(
        ledger.get("stage_cpu_s", ledger.get("stage_wall_s", 0.0)) for ledger in ledgers
    )  # older records: wall time
    counts = [Cell(large(total), total) for total in totals]
    return [Cell(str(len(ledgers)), len(ledgers)), *counts, Cell(seconds(spent), round(spent, 3))]
