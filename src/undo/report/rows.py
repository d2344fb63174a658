"""results.json to plain rows: what the tables, the figures and the words of the report have in common. No drawing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from undo.spec.recipe import Distil, Student
from undo.spec.students import students
from undo.study.scores import mean_interval, worst_case

Results = dict[str, Any]
Row = dict[str, Any]
Format = Callable[[float], str]

PERCENT = "\u00a0%"  # no line break between a number and its sign


@dataclass(frozen=True)
class Estimate:
    """Mean over `n` seeds and its 95 % interval; None where there is no value, or no interval for a single seed."""

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1

    def text(self, form: Format) -> str:
        """`0.68 [0.50, 0.81]`, in the given format."""
        if self.mean is None:
            return "–"
        return form(self.mean) + ("" if self.low is None else f" {self.interval(form)}")

    def interval(self, form: Format) -> str:
        """`[0.50, 0.81]`, or that there is none."""
        if self.low is None or self.high is None:
            return "(no interval)"
        return f"[{form(self.low).removesuffix(PERCENT)}, {form(self.high).removesuffix(PERCENT)}]"


def estimate(values: Iterable[float | None]) -> Estimate:
    """Over the seeds that have a value."""
    known = [value for value in values if value is not None]
    mean, low, high = mean_interval(known)
    return Estimate(mean, low, high, len(known))


def scored(score: Row, field: str) -> Estimate:
    """A field of a row of `scores` with the interval that stands beside it."""
    beside = [score["ci_low"], score["ci_high"]] if field == "recovery" else score.get(f"{field}_ci")
    low, high = beside or (None, None)
    return Estimate(score.get(field), low, high, score.get(f"{field}_n", score["n_seeds"]))


def by_id(results: Results) -> dict[str, list[Row]]:
    """Rows of `models`, one per seed, by model id."""
    groups: dict[str, list[Row]] = {}
    for row in results["models"]:
        groups.setdefault(row["id"], []).append(row)
    return groups


def of_role(results: Results, role: str) -> list[Row]:
    """One row per model of a role, whichever seed comes first."""
    return [rows[0] for rows in by_id(results).values() if rows[0]["role"] == role]


def of_roles(results: Results, *roles: str) -> list[Row]:
    """The same for several roles, in their order."""
    return [row for role in roles for row in of_role(results, role)]


def students_of(results: Results, teacher: str) -> list[Row]:
    """One row per student: noised by rising alpha, then the others."""
    students = [row for row in of_role(results, "student") if row.get("teacher") == teacher]
    return sorted(students, key=lambda row: (row["noise_alpha"] is None, row["noise_alpha"] or 0.0))


def distilled_from(results: Results, teacher: str) -> list[Row]:
    """Its students but for those that read texts which it chose, and were told nothing."""
    filtered = {id for id, made in settings_of(results).items() if made.filter_share is not None}
    return [row for row in students_of(results, teacher) if row["id"] not in filtered]


def fresh_student(results: Results, teacher: str) -> str | None:
    """The teacher's distilled fresh student of the usual name, or the only one that it taught to the end."""
    readers = then_text(results)
    distilled = [row for row in distilled_from(results, teacher) if row["id"] not in readers]
    fresh = [row["id"] for row in distilled if row["student_init"] == "fresh"]
    usual = [id for id in fresh if id == f"fresh-{teacher}"] or fresh
    return usual[0] if len(usual) == 1 else None


def then_text(results: Results) -> set[str]:
    """Students that read plain text when they had heard their teacher."""
    return {id for id, made in settings_of(results).items() if made.text_share}


def localised(results: Results, teacher: str) -> bool:
    """Whether a method trained the model from its initial weights: no suppression, but another kind of pretraining."""
    return results["recipe"]["suppress"][teacher].get("start") == "initial"


def compares_settings(results: Results) -> bool:
    """Whether most of the suppressed models are settings of a few methods that taught nobody, as in a search."""
    alone = [row["method"] for row in of_role(results, "teacher") if not students_of(results, row["id"])]
    return len(alone) > 2 * len(set(alone))


def named_teachers(results: Results) -> list[Row]:
    """Suppressed models that are spoken of one by one: of settings by the dozen those that taught somebody."""
    teachers = of_role(results, "teacher")
    if not compares_settings(results):
        return teachers
    return [row for row in teachers if students_of(results, row["id"])]


def settings_of(results: Results) -> dict[str, Student]:
    """How each student was made, by model id."""
    distil = results["recipe"].get("distil") or {}
    known = {name: value for name, value in distil.items() if name in Distil.model_fields}  # records may be older
    return {made.name: made.student for made in students(Distil.model_validate(known))} if known else {}


def mean_of(rows: list[Row], field: str) -> Estimate:
    """A field over the seeds of one model."""
    return estimate(row.get(field) for row in rows)


def taught_seeds(results: Results, model: str) -> set[int]:
    """Seeds in which a model's gap to its teacher is one that the stop rule allows; all of what had no teacher.

    What has hardly been taught relearns slowly too; its robustness is no success.
    """
    rows = by_id(results).get(model, [])
    if not any(row.get("distil") for row in rows):
        return {row["seed"] for row in rows}
    limit = results["recipe"]["distil"]["stop"]["max_gap"]
    return {row["seed"] for row in rows if row.get("distil") and row["distil"]["gap"] <= limit}


def keeps_retain(results: Results, model: str) -> bool:
    """Whether a model was taught in every seed, as numbers over all of them need."""
    return len(taught_seeds(results, model)) == len(by_id(results)[model])


def mostly_taught(results: Results, model: str) -> bool:
    """Whether a model was taught in more than half of its seeds; the others can be left out."""
    return 2 * len(taught_seeds(results, model)) > len(by_id(results)[model])


def label(row: Row) -> str:
    """What a figure calls a model among those of one teacher; the id where the usual words would not tell it apart."""
    if row["role"] != "student":
        return "suppressed" if row["role"] == "teacher" else row["role"]
    if row["student_init"] != "noised":
        usual = f"{row['student_init']}-{row.get('teacher')}"
        name = "student from the teacher" if row["student_init"] == "teacher" else f"{row['student_init']} student"
        return name if row["id"] == usual else row["id"]
    usual = f"undo-{row['noise_alpha']:g}-{row.get('teacher')}"
    return f"UNDO α {row['noise_alpha']:g}" if row["id"] == usual else row["id"]


def attacks(results: Results) -> list[str]:
    """Names of the attacks with a curve."""
    return list(dict.fromkeys(curve["attack"] for curve in results["curves"]))


def of_attack(results: Results, attack: str) -> Results:
    """The study as if it had made this attack alone."""
    alone = {field: [row for row in results[field] if row["attack"] == attack] for field in ("curves", "scores")}
    return results | alone


def skills(results: Results, attack: str) -> list[str]:
    """What the attack trained: the forget skill, and the neutral one where it is the control."""
    return list(dict.fromkeys(c.get("skill", "forget") for c in results["curves"] if c["attack"] == attack))


def curves_of(results: Results, attack: str, model: str, skill: str = "forget") -> dict[int, list[Row]]:
    """Curves of a model, one per variant, by seed."""
    seeds: dict[int, list[Row]] = {}
    for curve in results["curves"]:
        if (curve["attack"], curve["model"], curve.get("skill", "forget")) == (attack, model, skill):
            seeds.setdefault(curve["seed"], []).append(curve)
    return seeds


def envelope(results: Results, attack: str, model: str, skill: str = "forget") -> list[tuple[int, Estimate]]:
    """Worst case over variants at each step, per seed; then mean and interval over seeds."""
    seeds = curves_of(results, attack, model, skill)
    steps = sorted({point["step"] for curves in seeds.values() for curve in curves for point in curve["points"]})
    higher = higher_is_better(results, skill)
    return [(step, estimate(worst_case(curves, skill, step, higher) for curves in seeds.values())) for step in steps]


def higher_is_better(results: Results, metric: str) -> bool:
    """Whether more of a metric is better: accuracies, but not losses."""
    return results["metrics"].get(metric, results["metrics"]["forget"])["higher_is_better"]


def worst_point(results: Results, curves: list[Row], step: int, skill: str = "forget") -> Row:
    """The point that decides the worst case at a step: the best of all variants so far."""
    best = max if higher_is_better(results, skill) else min
    points = [point for curve in curves for point in curve["points"] if point["step"] <= step]
    return best(points, key=lambda point: point[skill])


def worst_curve(results: Results, curves: list[Row], step: int, skill: str = "forget") -> Row:
    """The variant behind `worst_point`."""
    worst = worst_point(results, curves, step, skill)
    return next(curve for curve in curves if any(point is worst for point in curve["points"]))


def kept(results: Results, attack: str, model: str, step: int) -> tuple[Estimate, Estimate]:
    """(forget, retain) of the worst variant at a step, both at the same point, over seeds."""
    worst = [worst_point(results, curves, step) for curves in curves_of(results, attack, model).values()]
    return estimate(point["forget"] for point in worst), estimate(point["retain"] for point in worst)


def right_labels(knobs: Row) -> bool:
    """Whether a teacher's labels are all right, by its settings."""
    return knobs.get("label_precision", 1.0) == 1.0


def variant_label(variant: Row) -> str:
    """`learning_rate 0.003`."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in variant.items())


def variants(results: Results, attack: str) -> list[Row]:
    """Variants of an attack, each once, by rising setting."""
    found = {variant_label(c["variant"]): c["variant"] for c in results["curves"] if c["attack"] == attack}
    return sorted(found.values(), key=lambda variant: [v for v in variant.values() if isinstance(v, int | float)])


def budgets(results: Results, attack: str) -> list[int]:
    """Budgets of an attack that were scored, in steps, rising."""
    return sorted({row["budget"] for row in results["scores"] if row["attack"] == attack})


def scores_at(results: Results, attack: str, budget: int) -> dict[str, Row]:
    """Rows of `scores` by model."""
    return {r["model"]: r for r in results["scores"] if (r["attack"], r["budget"]) == (attack, budget)}


def last_scores(results: Results, attack: str) -> dict[str, Row]:
    """Those at the attack's largest budget."""
    return scores_at(results, attack, max(budgets(results, attack), default=0))


def percent(value: float) -> str:
    """A share: `36.7 %`."""
    return f"{_signed(100 * value, 1)}{PERCENT}"


def plain(value: float) -> str:
    """`0.683`."""
    return _signed(value, 3)


def short(value: float) -> str:
    """`0.68`."""
    return _signed(value, 2)


def _signed(value: float, digits: int) -> str:
    """A true minus sign, and none before what rounds to zero."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def large(value: float) -> str:
    """FLOPs or tokens: `5.5e+14` as `5.5e14`, small counts in full."""
    return f"{value:,.0f}" if abs(value) < 1e6 else f"{value:.2e}".replace("e+", "e")


def seconds(value: float) -> str:
    """`4.5 s`, `12.3 min`, `3.1 h`."""
    if value < 120:
        return f"{value:.1f}\u00a0s"
    return f"{value / 60:.1f}\u00a0min" if value < 7200 else f"{value / 3600:.1f}\u00a0h"


def form_of(results: Results, metric: str) -> Format:
    """How a metric is written: fractions as per cent, all else as it is."""
    return percent if results["metrics"].get(metric, {}).get("unit") == "fraction" else plain


def describe_metric(results: Results, metric: str) -> str:
    """`exact match, forget test; %, 800 items`."""
    found = results["metrics"].get(metric)
    if found is None:
        return ""
    unit = "%" if found["unit"] == "fraction" else found["unit"]
    return f"{found['name']}; {unit}, {found['n_items']:,} items"


def record(artifact: str, name: str = "stage.json") -> str:
    """Relative URL of an artifact's file, seen from <out>/<study>/report/."""
    return quote(f"../../{artifact}/{name}")
