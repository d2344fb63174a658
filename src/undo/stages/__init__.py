"""The stages of a study: settings and input folders in, an outcome and files in the stage's own folder out.

Each file defines VERSION (raised when its results change, part of the key) and `run(settings, context) -> Outcome`.
Stages import torch only when they run, so that plans can read their versions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undo import train

if TYPE_CHECKING:
    from undo.train.checkpoint import Checkpoints, FitState
    from undo.train.ledger import Ledger
    from undo.train.loop import FitJob


@dataclass(frozen=True)
class Context:
    """Where a stage works and whom it tells."""

    folder: Path
    inputs: dict[str, Path]
    notify: Callable[[int, int, float | None], None]
    checkpoint_seconds: float

    def fit(self, model: Any, job: FitJob) -> FitState:
        """`train.fit` with this stage's checkpoints."""
        return train.fit(model, job, self.checkpoints(), self.notify)

    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this stage."""
        return train.Checkpoints(self.folder / "checkpoint", self.checkpoint_seconds)


@dataclass(frozen=True)
class Outcome:
    """What a stage leaves besides its files: scores for evals.json, rows for metrics.jsonl, its cost."""

    evals: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    ledger: Ledger | None = None
