"""The rows of results.json, typed. What an older record lacks is None, or the field's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Self


@cache
def _names(of: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(of))


@dataclass(frozen=True)
class Row:
    """Something read from JSON; further fields are left alone."""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """The row of a JSON object."""
        return cls(**{name: row[name] for name in _names(cls) if name in row})


@dataclass(frozen=True)
class Metric(Row):
    """What forget, retain and neutral scores are. `standard_error` is the largest over items and models."""

    name: str
    higher_is_better: bool
    unit: str
    n_items: int
    chance: float = 0.0
    standard_error: float = 0.0


@dataclass(frozen=True)
class Distilled(Row):
    """How a student's distillation ended; `stopped_by_rule` is None where its steps were fixed.

    `losses` are pairs (step, nats per token).
    """

    gap: float
    steps: int
    teacher_retain: float | None = None
    stopped_by_rule: bool | None = None
    losses: list[list[float]] | None = None


@dataclass(frozen=True)
class Suppressed(Row):
    """Where a suppression ended that goes on until little signal is left, and the share of the signal that is."""

    step: int
    signal_left: float


@dataclass(frozen=True)
class ModelRow(Row):
    """A model of one seed before any attack. `settings` say how a teacher or student was made, defaults left out."""

    id: str
    role: str
    seed: int
    retain: float
    forget: float
    flops: float
    tokens: int
    wall_s: float
    artifact: str
    method: str | None = None
    teacher: str | None = None
    student_init: str | None = None
    noise_alpha: float | None = None
    noise_beta: float | None = None
    neutral: float | None = None
    heldout_retain: float | None = None
    heldout_forget: float | None = None
    retain_kl_from_base: float | None = None
    forget_kl_from_uniform: float | None = None
    forget_signal: float | None = None
    weights_from_base: float | None = None
    barrier_to_base: float | None = None
    distil: Distilled | None = None
    suppress: Suppressed | None = None
    settings: dict[str, Any] | None = None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """With what is nested in it."""
        parts = {"distil": Distilled, "suppress": Suppressed}
        return super().read({**row, **{name: of.read(row[name]) for name, of in parts.items() if row.get(name)}})

    def value(self, metric: str) -> Any:
        """A number by the name of its field."""
        return getattr(self, metric)

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting that is not the default of its kind."""
        return (self.settings or {}).get(name, default)


@dataclass(frozen=True)
class Point(Row):
    """An attacked model at a step: scores by skill."""

    step: int
    forget_tokens: int
    forget: float
    retain: float
    tokens: int = 0
    neutral: float | None = None

    def value(self, skill: str) -> Any:
        """The score of a skill."""
        return getattr(self, skill)


@dataclass(frozen=True)
class Curve(Row):
    """One variant of an attack on one skill of one model."""

    model: str
    attack: str
    seed: int
    variant: dict[str, Any]
    points: tuple[Point, ...]
    skill: str = "forget"
    artifact: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """With its points."""
        return super().read({**row, "points": tuple(map(Point.read, row["points"]))})


@dataclass(frozen=True)
class Score(Row):
    """A model after an attack's budget, over seeds: a field, its interval `field_ci` and its number of seeds."""

    model: str
    attack: str
    budget: int
    n_seeds: int
    recovery: float
    ci_low: float | None = None
    ci_high: float | None = None
    neutral_recovery: float | None = None
    constrained_recovery: float | None = None
    specific_recovery: float | None = None
    relative_robustness: float | None = None
    relative_compute: float | None = None
    area_under_curve: float | None = None
    steps_to_half: float | None = None
    steps_to_half_n: int | None = None
    constrained_recovery_ci: tuple[float | None, float | None] | None = None
    specific_recovery_ci: tuple[float | None, float | None] | None = None
    relative_robustness_ci: tuple[float | None, float | None] | None = None
    relative_compute_ci: tuple[float | None, float | None] | None = None
    area_under_curve_ci: tuple[float | None, float | None] | None = None
    constrained_recovery_n: int | None = None
    specific_recovery_n: int | None = None
    relative_robustness_n: int | None = None
    relative_compute_n: int | None = None
    area_under_curve_n: int | None = None


@dataclass(frozen=True)
class Answer(Row):
    """What a model wrote on a sample question, before any attack (None) or after a variant of one."""

    model: str
    seed: int
    domain: str
    given: str
    expected: str
    said: str
    attack: str | None = None
    variant: dict[str, Any] | None = None


@dataclass(frozen=True)
class StageRow(Row):
    """A finished stage and what it cost."""

    id: str
    kind: str
    label: str
    inputs: dict[str, str]
    ledger: dict[str, Any]


@dataclass(frozen=True)
class Benchmark(Row):
    """What lm-eval found for one metric of one task; `part_of` names the group whose value this one is part of."""

    model: str
    seed: int
    task: str
    metric: str
    value: float | None
    stderr: float | None
    n_items: int
    n_shot: int | None
    part_of: str | None
    harness: str
    n_cut: int = 0
