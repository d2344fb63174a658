"""What a person sees while a study runs: bars on a terminal, a line per finished stage elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from undo.study.artifacts import Store
from undo.study.environment import available_cores
from undo.study.executor import Listener
from undo.study.plan import Plan, Stage
from undo.study.resources import workers_that_fit


class ProgressListener(Listener):
    """Tells the terminal what the executor tells it."""

    def __init__(self, progress: Progress, cached: int, stages: int) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}
        self.computed = 0
        self.study = progress.add_task("stages", completed=cached, total=stages, loss="")

    def started(self, stage: Stage) -> None:
        """A bar for the stage; stages without steps pulse."""
        self.tasks[stage.id] = self.progress.add_task(stage.label, total=stage.steps or None, loss="")

    def progressed(self, stage: Stage, step: int, steps: int, loss: float | None) -> None:
        """Moves the bar."""
        text = "" if loss is None else f"loss {loss:.3f}"
        self.progress.update(self.tasks[stage.id], completed=step, total=steps, loss=text)

    def finished(self, stage: Stage) -> None:
        """Takes the bar away and counts the stage."""
        self.computed += 1
        self.progress.advance(self.study)
        self._end(stage, stage.settings.traits.done)

    def failed(self, stage: Stage, message: str) -> None:
        """Takes the bar away; the reason stands at the end of the run, where it is not scrolled away."""
        self._end(stage, "FAILED")
        if self.progress.console.is_terminal:
            self.noted(f"failed: {stage.label}: {message}")

    def noted(self, message: str) -> None:
        """A line above the bars."""
        self.progress.console.print(message, style="yellow", highlight=False, soft_wrap=True)

    def _end(self, stage: Stage, how: str) -> None:
        self.progress.remove_task(self.tasks.pop(stage.id))
        if not self.progress.console.is_terminal:
            line = f"[{self.computed}] {how}: {stage.label}"
            self.progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def open_progress(plan: Plan, out: Path, workers: int) -> Iterator[ProgressListener]:
    """Progress on stderr, so that stdout holds results alone."""
    console = Console(stderr=True)
    fitting = workers_that_fit(plan, workers, available_cores(), out)
    threads = "one thread" if fitting.threads == 1 else f"{fitting.threads} threads"
    side_by_side = f"{fitting.number} worker{'s' * (fitting.number > 1)} of {threads} each"
    first = f"{plan.study}: {len(plan.stages)} stages, {side_by_side}, artifacts in {out}"
    console.print(first, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        cached = sum(map(Store(out).done, plan.stages))
        yield ProgressListener(progress, cached, len(plan.stages))
