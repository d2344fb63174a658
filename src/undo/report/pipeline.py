"""The pipeline with a study's own numbers: columns of boxes from pretraining to the attack."""

from collections.abc import Iterable
from dataclasses import dataclass

from undo.report.numbers import estimate, large, seconds
from undo.report.results import Results, label
from undo.study.rows import Curve, ModelRow


@dataclass(frozen=True)
class Box:
    """Something that was made, and its mean cost."""

    title: str
    note: str
    cost: str


def columns(results: Results) -> list[tuple[str, list[Box]]]:
    """(stage, boxes) in order; empty stages are left out."""
    found = [
        ("start" if results.pretrained else "pretrain", _pretrained(results)),
        ("suppress", _teachers(results)),
        ("perturb + distil", _students(results)),
        ("attack", _attacks(results)),
    ]
    return [(title, boxes) for title, boxes in found if boxes]


def _pretrained(results: Results) -> list[Box]:
    notes = {"base": "trained on retain and forget data", "oracle": "never saw forget data"}
    groups, settings = results.by_id, results.recipe.get("pretrain") or {}
    if given := results.pretrained:
        return [Box("base", f"{given['path']}, as it was given", "")] if "base" in groups else []
    made = [id for id in notes if id in groups]
    return [Box(id, notes[id], _cost(results, groups[id], settings.get(f"{id}_steps"))) for id in made]


MOST_BOXES = 8  # of suppressed models; a search has dozens


def _teachers(results: Results) -> list[Box]:
    """A box per suppressed model; of a search, one per method."""
    if len(results.of_role("teacher")) > MOST_BOXES:
        return _methods(results)
    groups, settings = results.by_id, results.recipe.get("suppress") or {}
    boxes = []
    for teacher in results.of_role("teacher"):
        steps = (settings.get(teacher.id) or {}).get("steps")
        note = f"base → teacher, by {teacher.method}"
        boxes.append(Box(teacher.id, note, _cost(results, groups[teacher.id], steps)))
    return boxes


def _methods(results: Results) -> list[Box]:
    methods: dict[str, list[ModelRow]] = {}
    for row in results.models:
        if row.role == "teacher":
            methods.setdefault(row.method or "", []).append(row)
    counts = {name: len({row.id for row in rows}) for name, rows in methods.items()}
    return [
        Box(name, f"{counts[name]} setting{'s' * (counts[name] > 1)}; each", _cost(results, rows, None))
        for name, rows in methods.items()
    ]


def _students(results: Results) -> list[Box]:
    """One box per kind of student, over teachers and seeds."""
    kinds: dict[str, list[ModelRow]] = {}
    for row in sorted(results.models, key=lambda row: row.noise_alpha or 0.0):
        if row.role == "student":
            kinds.setdefault(label(row), []).append(row)
    boxes = []
    for title, rows in kinds.items():
        teachers = list(dict.fromkeys(str(row.teacher) for row in rows))
        steps = estimate(row.distil and row.distil.steps for row in rows).mean
        boxes.append(Box(title, f"from {', '.join(teachers)}", _cost(results, rows, steps)))
    return boxes


def _attacks(results: Results) -> list[Box]:
    boxes = []
    for name in results.attacks():
        curves = results.runs(name)
        steps = max(point.step for curve in curves for point in curve.points)
        skills = ", ".join(dict.fromkeys(curve.skill for curve in curves))
        note = f"{len(curves)} runs: {len(results.variants(name))} variants on {skills}; a run"
        boxes.append(Box(name, note, _cost(results, curves, steps)))
    return boxes


def _cost(results: Results, rows: Iterable[ModelRow | Curve], steps: float | None) -> str:
    """Means over the rows' own stages: `2,400 steps · 5.5e14 FLOPs · 162 s`."""
    ledgers = {stage.id: stage.ledger for stage in results.stages}
    own = [ledgers.get((row.artifact or "").removeprefix("artifacts/"), {}) for row in rows]
    flops, spent = (estimate(ledger.get(name) for ledger in own).mean for name in ("flops", "wall_s"))
    parts = [] if steps is None else [f"{steps:,.0f} steps"]
    parts += [] if flops is None else [f"{large(flops)} FLOPs"]
    return " · ".join(parts + ([] if spent is None else [seconds(spent)]))
