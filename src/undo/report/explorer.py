"""Every relearning curve of an attack, for the page to switch between: by skill, method, student, variant and seed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from undo.report import style
from undo.report.numbers import estimate, percent
from undo.report.results import Results, label, variant_label
from undo.study.rows import Curve
from undo.study.scores import worst_case

WORST, MEAN = "worst case", "mean"
Value = Callable[[list[Curve], int], float | None]  # of one seed's curves, one per variant, at a step


def explorer(results: Results, attack: str) -> dict[str, Any]:
    """What can be chosen, how each model is drawn, and a line over `steps` per skill, variant, seed and model."""
    curves = results.runs(attack)
    steps = sorted({point.step for curve in curves for point in curve.points})
    seeds = sorted({curve.seed for curve in curves})
    models, skills = _models(results), results.skills(attack)
    methods = Counter(model["method"] for model in models if model["method"])  # with how many models each
    return {
        "choices": {
            "skill": skills,
            "method": sorted(methods, key=methods.__getitem__, reverse=True),
            "variant": [WORST, *map(variant_label, results.variants(attack))],
            "seed": [*([MEAN] if len(seeds) > 1 else []), *map(str, seeds)],
        },
        "titles": {skill: style.metric_title(results, skill) for skill in skills},
        "losses": results.form_of("forget") is not percent,
        "models": models,
        "steps": steps,
        "lines": _lines(results, attack, steps),
    }


def _models(results: Results) -> list[dict[str, Any]]:
    """Name, look, and the suppressed model that each belongs to; base and oracle go with all of them."""
    firsts = [rows[0] for rows in results.by_id.values()]
    return [
        {
            "id": row.id,
            "name": label(row),
            "colour": style.colour(row),
            "method": row.id if row.role == "teacher" else row.teacher,
            "student": row.role == "student",
        }
        for row in firsts
    ]


def _lines(results: Results, attack: str, steps: list[int]) -> dict[str, dict[str, list[float | None]]]:
    """Under `skill|variant|seed` a line per model, None where nothing was asked."""
    lines: dict[str, dict[str, list[float | None]]] = {}
    for skill in results.skills(attack):
        for variant, value in _values(results, attack, skill).items():
            for model in results.by_id:
                by_seed = results.curves_of(attack, model, skill)
                for seed, of in ((MEAN, list(by_seed.values())), *((s, [each]) for s, each in by_seed.items())):
                    line = [estimate(value(each, step) for each in of).mean for step in steps]
                    if any(point is not None for point in line):
                        lines.setdefault(f"{skill}|{variant}|{seed}", {})[model] = line
    return lines


def _values(results: Results, attack: str, skill: str) -> dict[str, Value]:
    """How to read a point, by variant: the worst case is that of all variants up to the step."""
    higher = results.higher_is_better(skill)

    def of(name: str) -> Value:
        def at(curves: list[Curve], step: int) -> float | None:
            points = [p for c in curves if variant_label(c.variant) == name for p in c.points]
            return next((point.value(skill) for point in points if point.step == step), None)

        return at

    worst: Value = lambda curves, step: worst_case(curves, skill, step, higher)  # noqa: E731
    return {WORST: worst} | {name: of(name) for name in map(variant_label, results.variants(attack))}
