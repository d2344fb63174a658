"""The students of a study, and how each is named after what is special about it."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from undo.spec.recipe import Distil, Optim, Student

FORMS = {
    "noise_beta": "beta{:g}",
    "noise_rule": "{}",
    "noise_parameters": "of-{}",
    "noise_from": "from-{}",
    "stream": "{}-stream",
    "filter_share": "filter{:g}",
    "text_share": "text{:g}",
    "temperature": "temperature{:g}",
    "top_k": "top{}",
    "steps": "steps{}",
    "batch_rows": "rows{}",
    "with_teachers": "with-{}",
}
"""How a name tells a setting of a student that is not the default."""
OPTIM_FORMS = {"schedule": "{}", "learning_rate": "lr{:g}", "warmup_steps": "warmup{}", "weight_decay": "decay{:g}"}
"""The same for an optimiser that is not the study's."""


NOISE = ("noise_alpha", "noise_beta", "noise_rule", "noise_parameters", "noise_from")
"""Settings that only a noised student has."""


class MadeStudent(NamedTuple):
    """One student: of a kind, of one of its teachers, at one of its strengths of noise."""

    name: str
    student: Student
    teacher: str
    alpha: float | None

    def settings(self) -> dict[str, Any]:
        """What the recipe says of it as JSON, defaults left out; of several teachers and alphas its own."""
        own = {"teachers": (self.teacher,), "noise_alpha": () if self.alpha is None else (self.alpha,)}
        return self.student.model_copy(update=own).model_dump(mode="json", exclude_defaults=True)


def students(distil: Distil) -> Iterator[MadeStudent]:
    """Every student of a study, in the order of its recipe."""
    for student in distil.students:
        for teacher, alpha in product(student.teachers, student.noise_alpha or (None,)):
            yield MadeStudent(_name(student, teacher, alpha, distil.optim), student, teacher, alpha)


def _name(student: Student, teacher: str, alpha: float | None, optim: Optim) -> str:
    """`fresh-maxent`, `undo-0.5-maxent`, `fresh-steps7-oracle`. `optim` is the study's."""
    defaults = {name: field.default for name, field in Student.model_fields.items()}
    parts = [student.init if alpha is None else f"undo-{alpha:g}"]
    parts += _differences(student, defaults, FORMS)
    if student.optim:
        parts += _differences(student.optim, optim.model_dump(), OPTIM_FORMS)
    return "-".join([*parts, teacher])


def _differences(settings: Student | Optim, usual: dict[str, Any], forms: dict[str, str]) -> list[str]:
    values = {name: getattr(settings, name) for name in forms}
    return [
        forms[name].format(_slug(value) if isinstance(value, tuple) else value)
        for name, value in values.items()
        if value != usual[name]
    ]


def _slug(patterns: tuple[str, ...]) -> str:
    """The words of patterns: `(".*mlp.*",)` is `mlp`."""
    return "-".join(re.findall("[a-z0-9]+", " ".join(patterns)))
