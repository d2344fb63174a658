"""A relearning attack that can be watched, stopped and asked."""

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Lock
from typing import Any

from undo import train
from undo.demo.exhibit import Row
from undo.spec.errors import TrainingDiverged
from undo.train import FitJob


class Relearning:
    """An attack on a private copy of a model: how far it is, and the points of its curve so far, as in results.json."""

    def __init__(self, row: Row, attack: str, model: Any, job: FitJob, before: Row) -> None:
        self.row, self.attack, self.model, self.job = row, attack, model, job
        self.done, self.steps, self.points = 0, job.steps, [before]
        self.stopped, self.trouble = False, ""

    def run(self, turn: Lock, pause_s: float) -> Iterator[None]:
        """Takes the steps, each in turn with everybody else; pauses after every point and every `pause_s` seconds.

        It ends when `stopped` is set or the generator is closed, and leaves the model as it is then; a loss that is not
        finite ends it too, and is told in `trouble`.
        """
        with turn:
            fit = train.start(self.model, self.job)
        with closing(train.steps(fit)) as taken:
            paused = time.monotonic()
            while self.done < self.steps and not self.stopped and not self.trouble:
                with turn:
                    self._step(taken)
                if len(fit.state.evals) == len(self.points) or time.monotonic() - paused >= pause_s:
                    self.points[1:] = fit.state.evals
                    yield
                    paused = time.monotonic()

    def _step(self, taken: Iterator[int]) -> None:
        try:
            self.done = next(taken)
        except TrainingDiverged as error:
            self.trouble = str(error)
