"""What a study found, and the questions that tables, figures and sentences ask of it. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from undo.report.numbers import Estimate, Format, estimate, form_of_unit
from undo.study.results import load_results
from undo.study.rows import Answer, Benchmark, Curve, Metric, ModelRow, Point, Score, StageRow
from undo.study.scores import worst_case, worst_point


class Results:
    """The content of a results.json: its rows, typed, and queries over them."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.study: str = content["study"]
        self.recipe: dict[str, Any] = content["recipe"]
        self.metrics = {name: Metric.read(row) for name, row in content["metrics"].items()}
        self.models = [ModelRow.read(row) for row in content["models"]]
        self.curves = [Curve.read(row) for row in content["curves"]]
        self.scores = [Score.read(row) for row in content["scores"]]
        self.stages = [StageRow.read(row) for row in content.get("stages", [])]
        self.answers = [Answer.read(row) for row in content.get("answers", [])]
        self.benchmarks = [Benchmark.read(row) for row in content.get("benchmarks", [])]
        self.environment: dict[str, Any] = content["environment"]
        self.totals: dict[str, Any] = content.get("totals") or {}
        self.failures: list[dict[str, str]] = content.get("failures", [])

    @property
    def dataset(self) -> dict[str, Any]:
        """The dataset's settings."""
        return self.recipe["data"]["dataset"]

    @property
    def pretrained(self) -> dict[str, Any] | None:
        """The settings of the given model that the study starts at; None where it trained its own."""
        return self.recipe.get("pretrained")

    @property
    def is_pilot(self) -> bool:
        """Whether the scores are of the validation split, by which settings are chosen."""
        return self.recipe.get("eval_split") == "valid"

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Those of a study's folder. Raises UserError where there are none whole."""
        return cls(load_results(folder))

    # models

    @cached_property
    def by_id(self) -> dict[str, list[ModelRow]]:
        """Models, a row per seed, by id."""
        groups: dict[str, list[ModelRow]] = {}
        for row in self.models:
            groups.setdefault(row.id, []).append(row)
        return groups

    @cached_property
    def first(self) -> dict[str, ModelRow]:
        """By id the row of whichever seed comes first."""
        return {id: rows[0] for id, rows in self.by_id.items()}

    @property
    def seeds(self) -> list[int]:
        """The seeds of the models, rising."""
        return sorted({row.seed for row in self.models})

    def of_role(self, *roles: str) -> list[ModelRow]:
        """One row per model of the roles, in the order of the roles."""
        return [row for role in roles for row in self.first.values() if row.role == role]

    def students_of(self, teacher: str) -> list[ModelRow]:
        """One row per student: noised by rising alpha, then the others."""
        students = [row for row in self.of_role("student") if row.teacher == teacher]
        return sorted(students, key=lambda row: (row.noise_alpha is None, row.noise_alpha or 0.0))

    def distilled_from(self, teacher: str) -> list[ModelRow]:
        """Its students, without those that were trained on texts which it chose."""
        return [row for row in self.students_of(teacher) if row.setting("filter_share") is None]

    def fresh_student(self, teacher: str) -> str | None:
        """The teacher's fresh student of the usual name, or the only one that learnt from it to the end."""
        taught = [row for row in self.distilled_from(teacher) if not row.setting("text_share")]
        fresh = [row.id for row in taught if row.student_init == "fresh"]
        usual = [id for id in fresh if id == f"fresh-{teacher}"] or fresh
        return usual[0] if len(usual) == 1 else None

    def made_alike(self, student: str, teacher: str, *but: str) -> list[str]:
        """Students of a teacher that were made as some student was, but for some settings.

        A kind of noised students has several alphas; only the student's own counts, unless `noise_alpha` is in `but`.
        """
        own, ignored = self.first[student], {"teachers", "noise_alpha", *but}
        if own.settings is None:
            return []
        alike = [row for row in self.students_of(teacher) if _rest(row, ignored) == _rest(own, ignored)]
        same_noise = [row for row in alike if "noise_alpha" in but or row.noise_alpha == own.noise_alpha]
        return [row.id for row in same_noise]

    def noise_families(self, teacher: str) -> list[list[ModelRow]]:
        """Noised students of a teacher that were made alike but for alpha, by rising alpha."""
        families: dict[str, list[ModelRow]] = {}
        for row in self.students_of(teacher):
            if row.student_init == "noised" and row.settings is not None:
                key = repr(sorted(_rest(row, {"teachers", "noise_alpha"}).items()))
                families.setdefault(key, []).append(row)
        return list(families.values())

    def trained_from_start(self, teacher: str) -> bool:
        """Whether a method trained the model from its initial weights: no suppression, but another pretraining."""
        return self.first[teacher].setting("start") == "initial"

    def compares_settings(self) -> bool:
        """Whether most of the suppressed models are settings of a few methods that have no student, as in a search."""
        alone = [row.method for row in self.of_role("teacher") if not self.students_of(row.id)]
        return len(alone) > 2 * len(set(alone))

    def named_teachers(self) -> list[ModelRow]:
        """Suppressed models that are spoken of one by one: in a search those alone that have a student."""
        teachers = self.of_role("teacher")
        if not self.compares_settings():
            return teachers
        return [row for row in teachers if self.students_of(row.id)]

    def mean(self, model: str, field: str) -> Estimate:
        """A number of a model over its seeds."""
        return mean_of(self.by_id.get(model, []), field)

    def seeds_at_goal(self, model: str) -> set[int]:
        """Seeds in which a student reached the stop rule's gap to its teacher; all seeds of what had no teacher.

        A student that learnt little relearns little: its robustness says nothing.
        """
        rows = self.by_id.get(model, [])
        if not any(row.distil for row in rows):
            return {row.seed for row in rows}
        limit = self.recipe["distil"]["stop"]["max_gap"]
        return {row.seed for row in rows if row.distil and row.distil.gap <= limit}

    def reached_stop_rule(self, model: str) -> bool:
        """Whether a model reached it in every seed, as numbers over all of them need."""
        return len(self.seeds_at_goal(model)) == len(self.by_id[model])

    def mostly_reached_stop_rule(self, model: str) -> bool:
        """Whether a model reached it in more than half of its seeds; the others can be left out."""
        return 2 * len(self.seeds_at_goal(model)) > len(self.by_id[model])

    # attacks

    def attacks(self) -> list[str]:
        """Names of the attacks with a curve."""
        return list(dict.fromkeys(curve.attack for curve in self.curves))

    def of_attack(self, attack: str) -> Results:
        """The study as if it had made this attack alone."""
        alone = {
            field: [row for row in self.content[field] if row["attack"] == attack] for field in ("curves", "scores")
        }
        return Results(self.content | alone)

    def runs(self, attack: str) -> list[Curve]:
        """All curves of an attack."""
        return [curve for curve in self.curves if curve.attack == attack]

    def skills(self, attack: str) -> list[str]:
        """What the attack trained: the forget skill, and the neutral one where it is the control."""
        return list(dict.fromkeys(curve.skill for curve in self.runs(attack)))

    @cached_property
    def _curves(self) -> dict[tuple[str, str, str], dict[int, list[Curve]]]:
        groups: dict[tuple[str, str, str], dict[int, list[Curve]]] = {}
        for curve in self.curves:
            groups.setdefault((curve.attack, curve.model, curve.skill), {}).setdefault(curve.seed, []).append(curve)
        return groups

    def curves_of(self, attack: str, model: str, skill: str = "forget") -> dict[int, list[Curve]]:
        """Curves of a model, one per variant, by seed."""
        return self._curves.get((attack, model, skill), {})

    def envelope(self, attack: str, model: str, skill: str = "forget") -> list[tuple[int, Estimate]]:
        """Worst case over variants at each step, per seed; then mean and interval over seeds."""
        seeds = self.curves_of(attack, model, skill)
        steps = sorted({point.step for curves in seeds.values() for curve in curves for point in curve.points})
        higher = self.higher_is_better(skill)
        return [
            (step, estimate(worst_case(curves, skill, step, higher) for curves in seeds.values())) for step in steps
        ]

    def worst_point(self, curves: list[Curve], step: int, skill: str = "forget") -> Point:
        """The point that decides the worst case at a step: the best of all variants so far."""
        return worst_point(curves, skill, step, self.higher_is_better(skill))

    def worst_curve(self, curves: list[Curve], step: int, skill: str = "forget") -> Curve:
        """The variant behind `worst_point`."""
        worst = self.worst_point(curves, step, skill)
        return next(curve for curve in curves if any(point is worst for point in curve.points))

    def kept(self, attack: str, model: str, step: int) -> tuple[Estimate, Estimate]:
        """(forget, retain) of the worst variant at a step, both at the same point, over seeds."""
        worst = [self.worst_point(curves, step) for curves in self.curves_of(attack, model).values()]
        return estimate(point.forget for point in worst), estimate(point.retain for point in worst)

    def variants(self, attack: str) -> list[dict[str, Any]]:
        """Variants of an attack, each once, by rising setting."""
        found = {variant_label(curve.variant): curve.variant for curve in self.runs(attack)}
        return sorted(found.values(), key=lambda variant: [v for v in variant.values() if isinstance(v, int | float)])

    def budgets(self, attack: str) -> list[int]:
        """Budgets of an attack that were scored, in steps, rising."""
        return sorted({row.budget for row in self.scores if row.attack == attack})

    def scores_at(self, attack: str, budget: int) -> dict[str, Score]:
        """Rows of `scores` by model."""
        return {row.model: row for row in self.scores if (row.attack, row.budget) == (attack, budget)}

    def last_scores(self, attack: str) -> dict[str, Score]:
        """Those at the attack's largest budget."""
        return self.scores_at(attack, max(self.budgets(attack), default=0))

    # metrics

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of a metric is better: accuracies, but not losses."""
        return self.metrics.get(metric, self.metrics["forget"]).higher_is_better

    def form_of(self, metric: str) -> Format:
        """How a metric is written."""
        return form_of_unit(self.metrics[metric].unit if metric in self.metrics else "")

    def describe_metric(self, metric: str) -> str:
        """`exact match, forget test; %, 800 items`."""
        found = self.metrics.get(metric)
        if found is None:
            return ""
        unit = "%" if found.unit == "fraction" else found.unit
        return f"{found.name}; {unit}, {found.n_items:,} items"


def _rest(row: ModelRow, ignored: Iterable[str]) -> dict[str, Any]:
    """A student's settings without some of them."""
    return {name: value for name, value in (row.settings or {}).items() if name not in set(ignored)}


def mean_of(rows: list[ModelRow], field: str) -> Estimate:
    """A field over the seeds of one model."""
    return estimate(row.value(field) for row in rows)


def scored(score: Score, field: str) -> Estimate:
    """A field of a score with its interval."""
    both = (score.ci_low, score.ci_high) if field == "recovery" else getattr(score, f"{field}_ci", None)
    low, high = both or (None, None)
    n = score.n_seeds if field == "recovery" else getattr(score, f"{field}_n", None)
    return Estimate(getattr(score, field), low, high, score.n_seeds if n is None else n)


def label(row: ModelRow) -> str:
    """What a figure calls a model among those of one teacher; the id where the usual words would not tell it apart."""
    if row.role != "student":
        return "suppressed" if row.role == "teacher" else row.role
    if row.student_init != "noised":
        usual = f"{row.student_init}-{row.teacher}"
        name = "student from the teacher" if row.student_init == "teacher" else f"{row.student_init} student"
        return name if row.id == usual else row.id
    usual = f"undo-{row.noise_alpha:g}-{row.teacher}"
    return f"UNDO α {row.noise_alpha:g}" if row.id == usual else row.id


def variant_label(variant: dict[str, Any]) -> str:
    """`learning_rate 0.003`."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}" for k, v in variant.items())


def record(artifact: str, name: str = "stage.json") -> str:
    """Relative URL of an artifact's file, seen from <out>/<study>/report/."""
    return quote(f"../../{artifact}/{name}")
