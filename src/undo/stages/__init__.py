"""The kinds of stages, one file each: settings and input folders in, an outcome and files in the stage's folder out.

A file defines `Settings`, which says what the stage computes and how others treat it (`traits`), and
`run(settings, context) -> Outcome`. The file's name is the kind. A new kind is a new file; no list is edited.
Stages import torch only when they run, so that plans can read their settings.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from undo import train
from undo.spec.base import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from undo.train.checkpoint import Checkpoints, FitState
    from undo.train.ledger import Ledger
    from undo.train.loop import FitJob

Scores = dict[str, Any]
"""JSON: scores by name, and lists of them."""


@dataclass(frozen=True)
class Traits:
    """How plans, the executor, estimates and reports treat a kind of stage."""

    version: int
    """Raised when the results of the kind change; part of every key."""
    output: Literal["model", "files", "scores"]
    """What dependent stages read: the model's folder, the whole artifact, or nothing (scores are for the report)."""
    done: str
    """What a line on the terminal says that the stage did, before its label."""
    bytes_per_weight: int = 8
    """Peak memory per weight of the model, all fp32. Training: the model, its gradient and AdamW's two moments (16)
    with a frozen model (4); without training: two models. 0 where no model is loaded, so that no GPU is needed."""
    memory_setting: tuple[str, str] | None = None
    """Where a recipe lowers the peak memory: the group that holds `gradient_checkpointing`, and what cuts the rows.
    None for kinds that do not train."""
    costly: bool = False
    """Starts only once the given model is seen to know the forget texts."""
    informs: bool = False
    """Starts before everything else that is ready: it takes seconds, and may show that other stages are in vain."""
    charged_to_student: Literal["no", "whole", "as_read"] = "no"
    """How much of its cost counts as a student's that it is an input of; `as_read`: the share of rows that it read."""


class StageSettings(Spec):
    """What a stage computes. A key hashes what differs from the defaults, so a new setting leaves old keys alone."""

    traits: ClassVar[Traits]

    @classmethod
    def kind(cls) -> str:
        """The name of the file that defines the settings."""
        return cls.__module__.rpartition(".")[2]

    def replication(self) -> int | None:
        """The study's seed that the stage belongs to; None where it draws nothing by itself."""
        return None

    def rows_at_once(self) -> int:
        """Rows in memory in one pass, 0 where no step is taken."""
        return 0

    def recomputes_activations(self) -> bool:
        """Whether gradient checkpointing keeps activations out of memory."""
        return False

    def may_stop_early(self) -> bool:
        """Whether the stage's number of steps is only the largest possible one."""
        return False

    def evaluations(self) -> int:
        """Evaluations on the way that a time estimate must count."""
        return 0


class SeededSettings(StageSettings):
    """Settings of a stage that draws: weights, an order of rows, noise."""

    seed: int

    def replication(self) -> int:
        """Its seed."""
        return self.seed


def kinds() -> list[str]:
    """The kinds of stages: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def settings_class(kind: str) -> type[StageSettings]:
    """The `Settings` of a kind."""
    return importlib.import_module(f"undo.stages.{kind}").Settings


def run(kind: str, settings: dict[str, Any], context: Context) -> Outcome:
    """Runs a stage of a kind with settings as JSON."""
    module = importlib.import_module(f"undo.stages.{kind}")
    return module.run(module.Settings.model_validate(settings), context)


@dataclass(frozen=True)
class Context:
    """Where a stage works and whom it tells."""

    folder: Path
    inputs: dict[str, Path]
    notify: Callable[[int, int, float | None], None]
    checkpoint_seconds: float

    def fit(self, model: PreTrainedModel, job: FitJob) -> FitState:
        """`train.fit` with this stage's checkpoints."""
        return train.fit(model, job, self.checkpoints(), self.notify)

    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this stage."""
        return train.Checkpoints(self.folder / "checkpoint", self.checkpoint_seconds)


@dataclass(frozen=True)
class Outcome:
    """What a stage leaves besides its files: scores for evals.json, rows for metrics.jsonl, its cost."""

    evals: Scores = field(default_factory=dict)
    metrics: list[Scores] = field(default_factory=list)
    ledger: Ledger | None = None
