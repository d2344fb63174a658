"""A relearning attack that can be watched, stopped and asked."""

import time
from collections.abc import Generator, Iterator
from dataclasses import fields, replace
from threading import Lock
from typing import Any

from undo import train
from undo.spec.errors import TrainingDiverged
from undo.study.rows import ModelRow, Point
from undo.train import FitJob


class Relearning:
    """An attack on a private copy of a model: how far it is, and the points of its curve so far, as in results.json.

    Computing and ending it are done in `turn` with everybody else's.
    """

    def __init__(self, row: ModelRow, attack: str, model: Any, job: FitJob, before: Point, turn: Lock) -> None:
        self.row, self.attack, self.model, self.job, self.turn = row, attack, model, job, turn
        self.done, self.steps, self.points = 0, job.steps, [before]
        self.stopped, self.trouble = False, ""
        self._taken: Generator[int] | None = None

    def run(self, pause_s: float) -> Iterator[None]:
        """Takes the steps, and pauses after every point and every `pause_s` seconds.

        It ends when `stopped` is set, and leaves the model as it is then; a loss that is not finite ends it too, and is
        told in `trouble`.
        """
        with self.turn:
            fit = train.start(self.model, self.job)
            state, self._taken = fit.state, train.steps(fit)
        del fit  # a page that is gone leaves this function where it paused
        paused = time.monotonic()
        while self.done < self.steps and not self.stopped and not self.trouble:
            with self.turn:
                self._step()
            if len(state.evals) == len(self.points) or time.monotonic() - paused >= pause_s:
                before = self.points[0]  # what an evaluation does not ask stays as it was
                self.points[1:] = [replace(before, **_scores(point)) for point in state.evals]
                yield
                paused = time.monotonic()
        with self.turn:
            self._close()

    def _step(self) -> None:
        try:
            self.done = next(self._taken) if self._taken else self.done
        except TrainingDiverged as error:
            self.trouble = str(error)

    def _close(self) -> None:
        if self._taken:
            self._taken.close()
        self._taken = None

    def drop(self) -> None:
        """Ends the attack, wherever it paused, and lets the copy go."""
        self.stopped = True
        with self.turn:
            self._close()
            self.model = None


def _scores(point: dict[str, Any]) -> dict[str, Any]:
    """What a point of a curve shows, of all that an evaluation found."""
    return {field.name: point[field.name] for field in fields(Point) if field.name in point}
